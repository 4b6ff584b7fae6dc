#include "generation/processors.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

namespace smelt::generation {
namespace {

double FromBits(int64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

class Processor {
 public:
  Processor(const Settings& settings, const History& history, float* logits, int64_t vocabulary)
      : s_(settings), h_(history), logits_(logits), vocabulary_(vocabulary) {}

  // Sums of biases are made before they are added, shorter sequences first.
  void SequenceBias(float* sums) {
    size_t longest = 0;
    ForBiases([&](const int64_t* ids, size_t count, float) {
      sums[ids[count - 1]] = 0;
      longest = std::max(longest, count);
    });
    for (size_t size = 1; size <= longest; ++size) {
      ForBiases([&](const int64_t* ids, size_t count, float bias) {
        if (count == size && h_.EndsWith(ids, count - 1)) sums[ids[count - 1]] += bias;
      });
    }
    ForBiases([&](const int64_t* ids, size_t count, float) {
      float& sum = sums[ids[count - 1]];
      if (sum != 0) logits_[ids[count - 1]] += sum;
      sum = 0;
    });
  }

  void Penalize(size_t count, double factor) {
    const float penalty = static_cast<float>(factor);
    for (size_t i = 0; i < count; ++i) {
      float& logit = logits_[h_.distinct()[i]];
      logit = logit < 0 ? logit * penalty : logit / penalty;
    }
  }

  void FrequencyAndPresence() {
    const float frequency = static_cast<float>(s_.frequency_penalty);
    const float presence = static_cast<float>(s_.presence_penalty);
    for (const int64_t token : h_.distinct()) {
      const uint32_t times = h_.times(token);
      if (times == 0) continue;
      logits_[token] -= frequency * static_cast<float>(times);
      logits_[token] -= presence;
    }
  }

  // Forbids what would complete a gram of the first `read` tokens at the end of all.
  void ForbidGrams(size_t read, int64_t gram) {
    const size_t size = static_cast<size_t>(gram);
    if (h_.size() + 1 < size || read < size) return;
    const int64_t* tokens = h_.tokens();
    const int64_t* tail = tokens + h_.size() - (size - 1);
    for (size_t start = 0; start + size <= read; ++start) {
      if (std::equal(tail, tail + size - 1, tokens + start)) Forbid(tokens[start + size - 1]);
    }
  }

  void BadWords() {
    for (size_t at = 0; at < s_.bad_words.size();) {
      const size_t count = static_cast<size_t>(s_.bad_words[at]);
      const int64_t* ids = s_.bad_words.data() + at + 1;
      const bool is_end = count == 1 && std::count(s_.eos.begin(), s_.eos.end(), ids[0]);
      if (!is_end && h_.EndsWith(ids, count - 1)) Forbid(ids[count - 1]);
      at += 1 + count;
    }
  }

  void ForbidAll(const std::vector<int64_t>& ids) {
    for (const int64_t id : ids) Forbid(id);
  }

  void Only(const int64_t* ids, size_t count) {
    std::fill(logits_, logits_ + vocabulary_, -INFINITY);
    for (size_t i = 0; i < count; ++i) logits_[ids[i]] = 0;
  }

  // The end becomes likelier with every token behind the start.
  void Decay() {
    const double times = static_cast<double>(static_cast<int64_t>(h_.made()) - s_.decay_start);
    const double power = std::pow(s_.decay_factor, times) - 1;
    const float factor = static_cast<float>(std::min(power, static_cast<double>(FLT_MAX)));
    for (auto id = s_.eos.begin(); id != s_.eos.end(); ++id) {
      if (std::find(s_.eos.begin(), id, *id) != id) continue;  // each once
      float& logit = logits_[*id];
      if (std::isfinite(logit)) logit += std::fabs(logit) * factor;
    }
  }

 private:
  void Forbid(int64_t id) { logits_[id] = -INFINITY; }

  template <typename Use>
  void ForBiases(const Use& use) {
    for (size_t at = 0; at < s_.sequence_bias.size();) {
      const size_t count = static_cast<size_t>(s_.sequence_bias[at]);
      const int64_t* ids = s_.sequence_bias.data() + at + 1;
      use(ids, count, static_cast<float>(FromBits(ids[count])));
      at += 2 + count;
    }
  }

  const Settings& s_;
  const History& h_;
  float* logits_;
  int64_t vocabulary_;
};

}  // namespace

void Process(const Settings& s, const History& h, size_t most, float* logits, int64_t vocabulary,
             Workspace* work) {
  Processor p(s, h, logits, vocabulary);
  const size_t made = h.made(), size = h.size();
  if (!s.sequence_bias.empty()) p.SequenceBias(reinterpret_cast<float*>(work->keys.get()));
  if (s.encoder_repetition_penalty != 1)
    p.Penalize(h.distinct_in_prompt(), 1 / s.encoder_repetition_penalty);
  if (s.repetition_penalty != 1) p.Penalize(h.distinct().size(), s.repetition_penalty);
  if (s.frequency_penalty != 0 || s.presence_penalty != 0) p.FrequencyAndPresence();
  if (s.no_repeat_ngram_size > 0) p.ForbidGrams(size, s.no_repeat_ngram_size);
  if (s.encoder_no_repeat_ngram_size > 0) p.ForbidGrams(h.prompt(), s.encoder_no_repeat_ngram_size);
  p.BadWords();
  const bool is_short =
      static_cast<int64_t>(size) < s.min_length || static_cast<int64_t>(made) < s.min_new_tokens;
  if (is_short) p.ForbidAll(s.eos);
  const bool is_forced = s.forced_bos >= 0;
  if (is_forced && size == 1) p.Only(&s.forced_bos, 1);
  if (!s.forced_eos.empty() && made + 1 == most) p.Only(s.forced_eos.data(), s.forced_eos.size());
  if (s.decay_start >= 0 && static_cast<int64_t>(made) > s.decay_start) p.Decay();
  p.ForbidAll(s.suppress);
  // The first token that is free: a forced one comes before it.
  if (made == (is_forced && h.prompt() <= 1 ? 1 : 0)) p.ForbidAll(s.begin_suppress);
}

}  // namespace smelt::generation
