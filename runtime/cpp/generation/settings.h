// Everything that decides which token comes next: what a call says over what the model's file says,
// checked. The names, ranges and meanings are those of runtime/settings.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model.h"
#include "smelt/smelt.h"

namespace smelt::generation {

struct Settings {
  int64_t max_new_tokens, max_length, min_new_tokens, min_length;
  double max_time;
  uint64_t seed;
  int64_t row, logprobs;
  double temperature, top_h;
  int64_t top_k;
  double top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff;
  double encoder_repetition_penalty, repetition_penalty, frequency_penalty, presence_penalty;
  int64_t no_repeat_ngram_size, encoder_no_repeat_ngram_size;
  int64_t forced_bos, decay_start;
  double decay_factor;
  double watermark_bias, watermark_ratio;
  int64_t watermark_key, watermark_width, watermark_self;
  int64_t reuse;
  std::vector<int64_t> eos, forced_eos, suppress, begin_suppress;
  // Sequences one behind the other: their length, their tokens and, of biases, the bits of a
  // double.
  std::vector<int64_t> bad_words, sequence_bias;
  std::vector<std::string> stop;

  bool greedy() const { return temperature == 0; }
  bool has_top_h() const { return top_h > 0; }
  bool has_watermark() const { return watermark_bias == watermark_bias; }

  // kInvalidArgument for a value out of range or a token outside the vocabulary, kUnsupported for
  // what the model's file asks for and C++ lacks. `given` may be null.
  Status Resolve(const Model& model, const smelt_generation* given, int64_t vocabulary);
};

}  // namespace smelt::generation
