#include "generation/history.h"

#include <algorithm>

namespace smelt::generation {

void History::LookUp(const Settings& s, int64_t vocabulary) {
  looks_up_ = s.repetition_penalty != 1 || s.encoder_repetition_penalty != 1 ||
              s.frequency_penalty != 0 || s.presence_penalty != 0;
  if (!looks_up_) return;
  distinct_.reserve(tokens_.size());
  seen_.resize(static_cast<size_t>(vocabulary));
  times_.resize(static_cast<size_t>(vocabulary));
}

void History::Begin(const int64_t* prompt, size_t count) {
  size_ = prompt_ = 0;
  std::fill(seen_.begin(), seen_.end(), false);
  std::fill(times_.begin(), times_.end(), 0);
  distinct_.clear();
  for (size_t i = 0; i < count; ++i) Push(prompt[i]);
  if (looks_up_) std::fill(times_.begin(), times_.end(), 0);
  prompt_ = count;
  distinct_in_prompt_ = distinct_.size();
}

void History::Push(int64_t token) {
  tokens_[size_++] = token;
  if (!looks_up_) return;
  const size_t id = static_cast<size_t>(token);
  if (!seen_[id]) distinct_.push_back(token);
  seen_[id] = true;
  ++times_[id];
}

bool History::EndsWith(const int64_t* tail, size_t count) const {
  return count <= size_ && std::equal(tail, tail + count, tokens_.data() + size_ - count);
}

}  // namespace smelt::generation
