// The tokens of one row, and what the penalties look up about them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "generation/settings.h"

namespace smelt::generation {

class History {
 public:
  // Room for `context` tokens.
  void Open(int64_t context) { tokens_.resize(static_cast<size_t>(context) + 1); }
  // Room for what these settings look up.
  void LookUp(const Settings& settings, int64_t vocabulary);
  void Begin(const int64_t* prompt, size_t count);
  void Push(int64_t token);

  const int64_t* tokens() const { return tokens_.data(); }
  size_t size() const { return size_; }
  size_t prompt() const { return prompt_; }
  size_t made() const { return size_ - prompt_; }

  // Tokens that occur, each once, those of the prompt first; where a penalty asks for them.
  const std::vector<int64_t>& distinct() const { return distinct_; }
  size_t distinct_in_prompt() const { return distinct_in_prompt_; }
  // How often a token of distinct() is among the new ones.
  uint32_t times(int64_t token) const { return times_[static_cast<size_t>(token)]; }

  bool EndsWith(const int64_t* tail, size_t count) const;

 private:
  std::vector<int64_t> tokens_, distinct_;
  size_t size_ = 0, prompt_ = 0, distinct_in_prompt_ = 0;
  std::vector<bool> seen_;
  std::vector<uint32_t> times_;
  bool looks_up_ = false;
};

}  // namespace smelt::generation
