// Decoding: each id has its bytes; what is left is bytes that make characters only together.
#include <algorithm>

#include "text/tokenizer.h"

namespace smelt::text {

namespace {

// Writes as far as there is room, counts all, and leaves out the first spaces.
class Out {
 public:
  Out(char* to, size_t capacity, uint32_t strip, uint8_t byte)
      : to_(to), capacity_(capacity), strip_(strip), byte_(byte) {}
  void Put(const uint8_t* bytes, size_t count) {
    while (strip_ && count) {
      if (*bytes != byte_) {
        strip_ = 0;
        break;
      }
      --strip_, ++bytes, --count;
    }
    const size_t room = count_ < capacity_ ? std::min(count, capacity_ - count_) : 0;
    if (room) std::memcpy(to_ + count_, bytes, room);
    count_ += count;
  }
  void PutBad() { Put(kReplacement, 3); }
  size_t count() const { return count_; }
  uint32_t strip() const { return strip_; }

 private:
  char* to_;
  size_t capacity_, count_ = 0;
  uint32_t strip_;
  uint8_t byte_;
};

}  // namespace

// Walks the bytes of pieces: whole characters go out, the beginning of one is held.
class PieceWriter {
 public:
  PieceWriter(const Tokenizer& t, StreamState* state, Out* out)
      : t_(t), state_(*state), out_(*out) {}

  // The id's place in the tables; kNone when it shows nothing.
  uint32_t Shown(int64_t id, bool skip_special) const {
    if (id < 0 || id >= t_.info_->vocab) return kNone;
    const uint8_t flags = t_.piece_flags_[id];
    if (!(flags & kKnown) || (skip_special && flags & kSpecial)) return kNone;
    return static_cast<uint32_t>(id);
  }
  bool IsByte(uint32_t id) const { return t_.piece_flags_[id] & kByte; }

  void Token(uint32_t id) {
    const Strings& pieces = state_.is_started ? t_.rest_pieces_ : t_.first_pieces_;
    state_.is_started = 1;
    const uint8_t* bytes = pieces.data(id);
    const uint32_t count = pieces.size(id);
    if (t_.info_->flags & kLossyBytes || IsByte(id)) return Bytes(bytes, count);
    Flush();
    out_.Put(bytes, count);
  }

  void Bytes(const uint8_t* bytes, uint32_t count) {
    for (uint32_t i = 0; i < count;) {
      if (state_.count == 0 && bytes[i] < 0x80) {
        uint32_t plain = i + 1;
        while (plain < count && bytes[plain] < 0x80) ++plain;
        out_.Put(bytes + i, plain - i);
        i = plain;
        continue;
      }
      state_.held[state_.count++] = bytes[i++];
      uint32_t bad = 0;
      bool cut = false;
      const uint32_t valid = ValidChar(state_.held, state_.held + state_.count, &bad, &cut);
      if (valid) {
        out_.Put(state_.held, valid);
        state_.count = 0;
      } else if (!cut) {
        // All but the last byte began a character that does not go on; the last begins anew.
        const bool again = state_.count > 1;
        Replace(again ? state_.count - 1u : 1u);
        if (again) --i;
        state_.count = 0;
      }
    }
  }

  // Gives up on the character that was begun.
  void Flush() {
    if (state_.count) Replace(state_.count);
    state_.count = 0;
  }

 private:
  // Byte-level: one mark for a broken character; with byte fallback one for each byte.
  void Replace(uint32_t bytes) {
    const uint32_t marks = t_.info_->flags & kLossyBytes ? 1 : bytes;
    for (uint32_t i = 0; i < marks; ++i) out_.PutBad();
  }

  const Tokenizer& t_;
  StreamState& state_;
  Out& out_;
};

size_t Tokenizer::Decode(const int64_t* ids, size_t count, bool skip_special, char* out,
                         size_t capacity) const {
  StreamState state = {};
  Out to(out, capacity, info_->strip_left, static_cast<uint8_t>(info_->strip_byte));
  PieceWriter writer(*this, &state, &to);
  const bool lossy = info_->flags & kLossyBytes;
  for (size_t i = 0; i < count;) {
    uint32_t id = writer.Shown(ids[i], skip_special);
    if (id == kNone || lossy || !writer.IsByte(id)) {
      if (id != kNone) writer.Token(id);
      ++i;
      continue;
    }
    // A run of bytes is text as a whole or not at all.
    uint8_t held[4];
    uint32_t held_count = 0;
    bool is_text = true;
    size_t end = i, bytes = 0;
    for (; end < count; ++end) {
      id = writer.Shown(ids[end], skip_special);
      if (id == kNone) continue;
      if (!writer.IsByte(id)) break;
      ++bytes;
      if (!is_text) continue;
      held[held_count++] = *rest_pieces_.data(id);
      uint32_t bad = 0;
      bool cut = false;
      if (ValidChar(held, held + held_count, &bad, &cut)) {
        held_count = 0;
      } else if (!cut) {
        is_text = false;
      }
    }
    is_text = is_text && held_count == 0;
    state.is_started = 1;
    for (; i < end; ++i) {
      id = writer.Shown(ids[i], skip_special);
      if (id == kNone) continue;
      if (is_text) {
        to.Put(rest_pieces_.data(id), 1);
      } else {
        to.PutBad();
      }
    }
  }
  writer.Flush();
  return to.count();
}

size_t Tokenizer::Push(StreamState* state, int64_t id, bool skip_special, char* out) const {
  const uint32_t strip = info_->strip_left - std::min(state->stripped, info_->strip_left);
  Out to(out, StreamBytes(), strip, static_cast<uint8_t>(info_->strip_byte));
  PieceWriter writer(*this, state, &to);
  const uint32_t shown = writer.Shown(id, skip_special);
  if (shown != kNone) writer.Token(shown);
  state->stripped = info_->strip_left - to.strip();
  return to.count();
}

size_t Tokenizer::Finish(StreamState* state, char* out) const {
  Out to(out, StreamBytes(), 0, 0);
  PieceWriter(*this, state, &to).Flush();
  return to.count();
}

}  // namespace smelt::text
