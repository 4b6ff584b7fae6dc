#include "generation/stops.h"

#include <algorithm>
#include <cstring>

namespace smelt::generation {

void Stops::Open(const text::Tokenizer* tokenizer, std::vector<std::string> stops) {
  tokenizer_ = tokenizer;
  stops_ = std::move(stops);
  if (!tokenizer) return;
  size_t longest = 0;
  for (const std::string& stop : stops_) longest = std::max(longest, stop.size());
  // What waits, a piece, and the rest of the stream with the last piece of a row.
  held_.resize(longest + 2 * tokenizer->StreamBytes());
}

void Stops::Begin(const int64_t* prompt, size_t count) {
  constexpr size_t kContext = 8;
  state_ = {};
  shown_ = size_ = 0;
  found_ = false;
  if (!tokenizer_) return;
  for (size_t i = count - std::min(count, kContext); i < count; ++i)
    tokenizer_->Push(&state_, prompt[i], /*skip_special=*/true, held_.data());
}

std::string_view Stops::Skip() {
  if (!tokenizer_) return {};
  std::memmove(held_.data(), held_.data() + shown_, size_ - shown_);
  size_ -= shown_;
  shown_ = 0;
  return {held_.data(), 0};
}

std::string_view Stops::Push(int64_t id) {
  if (!tokenizer_) return {};
  Skip();
  size_ += tokenizer_->Push(&state_, id, /*skip_special=*/true, held_.data() + size_);
  return Release(0, false);
}

// Behind the `before` bytes that are shown with this piece already.
std::string_view Stops::Release(size_t before, bool is_last) {
  const std::string_view text(held_.data() + before, size_ - before);
  size_t shown = text.size();
  for (const std::string& stop : stops_) {
    const size_t at = text.find(stop);
    if (at == std::string_view::npos) continue;
    found_ = true;
    shown = std::min(shown, at);
  }
  if (found_) {
    size_ = before + shown;  // nothing behind it is ever shown
  } else if (!is_last) {
    size_t kept = 0;
    for (const std::string& stop : stops_) {
      size_t size = std::min(text.size(), stop.size() - 1);
      while (size > kept && text.compare(text.size() - size, size, stop, 0, size) != 0) --size;
      kept = std::max(kept, size);
    }
    shown -= kept;
  }
  shown_ = before + shown;
  return {held_.data(), shown_};
}

std::string_view Stops::Finish() {
  if (!tokenizer_) return {};
  if (found_) return {held_.data(), shown_};
  size_ += tokenizer_->Finish(&state_, held_.data() + size_);
  return Release(shown_, true);
}

}  // namespace smelt::generation
