// Text of new tokens that can be shown: whole characters, and nothing that may still become one of
// the strings before which a row ends.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace smelt::generation {

class Stops {
 public:
  // There are no stops without a tokenizer.
  void Open(const text::Tokenizer* tokenizer, std::vector<std::string> stops);
  // The last tokens of a prompt decide how the first new one is written.
  void Begin(const int64_t* prompt, size_t count);

  // What can be shown after this token; valid until the next call.
  std::string_view Push(int64_t id);
  // What can be shown after a token without text.
  std::string_view Skip();
  // The same and all that is left, at the end of a row.
  std::string_view Finish();
  bool found() const { return found_; }

 private:
  std::string_view Release(size_t before, bool is_last);

  const text::Tokenizer* tokenizer_ = nullptr;
  std::vector<std::string> stops_;
  text::StreamState state_ = {};
  std::vector<char> held_;  // what is shown now, and behind it what waits
  size_t shown_ = 0, size_ = 0;
  bool found_ = false;
};

}  // namespace smelt::generation
