// One row's choices: its settings, its tokens, why it ends. Any driver feeds it logits, one row or
// a batch; the row's number is an option, so that a row gives what it gives alone.
//
//   Workspace work(VocabularyOf(model));           // rows that choose one after the other share it
//   Result<Sampler> row = Sampler::Make(model, &how, tokenizer, context);
//   SMELT_TRY(row->Begin(prompt, count));
//   while (!row->done()) { ...; Result<int64_t> token = row->Choose(logits, &work); ... }
#pragma once

#include <chrono>
#include <string_view>
#include <vector>

#include "generation/history.h"
#include "generation/settings.h"
#include "generation/stops.h"
#include "generation/watermark.h"
#include "generation/workspace.h"

namespace smelt::generation {

// The width of the logits of `main`; 0 when the model has none of fixed width.
int64_t VocabularyOf(const Model& model);

class Sampler {
 public:
  // Open and Set. `how` null: what the model's file says; nothing in it is needed afterwards.
  // `tokenizer` may be null where there are no stop strings; `context` is the most tokens that a
  // row may hold, prompt and new ones.
  static Result<Sampler> Make(const Model& model, const smelt_generation* how,
                              const text::Tokenizer* tokenizer, int64_t context);
  // Takes what every row needs, without settings.
  static Result<Sampler> Open(const Model& model, int64_t context);
  // Settings for the next rows. Takes memory for what no settings before needed, or less of.
  Status Set(const Model& model, const smelt_generation* how, const text::Tokenizer* tokenizer);

  // A new row behind this prompt, and the clock of max_time; nothing allocates from here on, errors
  // excepted. kInvalidArgument for a prompt that is empty, does not fit, or has unknown tokens.
  Status Begin(const int64_t* prompt, size_t count);
  // The next token by the row's logits [vocabulary], which are overwritten; kOutOfRange when they
  // are no numbers, or leave no token. Not when done().
  Result<int64_t> Choose(float* logits, Workspace* work);
  // Ends the row after the last token, by whoever drives it.
  void Stop() {
    if (!done()) token_.finish = SMELT_STOPPED;
  }

  bool done() const { return token_.finish != SMELT_UNFINISHED; }
  smelt_finish finish() const { return token_.finish; }
  // The last token, as callbacks get it; valid until the next Choose.
  const smelt_token& token() const { return token_; }
  const Settings& settings() const { return settings_; }
  // Prompt and new tokens.
  const int64_t* tokens() const { return history_.tokens(); }
  size_t size() const { return history_.size(); }
  size_t made() const { return history_.made(); }

 private:
  using Clock = std::chrono::steady_clock;
  Sampler() = default;
  Result<float> MostOf(const float* logits) const;
  int64_t Pick(float* logits, float most, Workspace* work);
  void Score(const float* logits, Workspace* work);
  void Take(int64_t id, bool is_late);

  int64_t vocabulary_ = 0, context_ = 0;
  Settings settings_;
  History history_;
  Watermark mark_;
  Stops stops_;
  int64_t most_ = 0;                   // new tokens of this row
  smelt_finish limit_ = SMELT_LENGTH;  // why it would end there
  Clock::time_point start_;
  std::vector<float> raw_;  // logits as given, where scores are wanted
  std::vector<smelt_score> top_;
  double most_logit_ = 0, log_sum_ = 0;
  smelt_token token_ = {};
};

}  // namespace smelt::generation
