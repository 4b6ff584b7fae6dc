// Encoding: added tokens first, then normalization, splitting and the model for what is between.
#include "text/encoder.h"

#include <algorithm>

namespace smelt::text {

namespace {

constexpr uint32_t kSpaceLetter = 0x120;  // how byte-level vocabularies spell a space

}  // namespace

bool TextOut::Copy(const Piece& piece, uint32_t begin, uint32_t end) {
  const uint32_t count = end - begin;
  if (scratch_->room() < count * (1 + sizeof(Span)) + 16) return false;
  std::memcpy(scratch_->low_, piece.text + begin, count);
  Span* top = reinterpret_cast<Span*>(scratch_->high_);
  if (piece.spans) {
    top -= count;
    std::memcpy(top, piece.spans - end + 1, count * sizeof(Span));
  } else {
    for (uint32_t i = begin; i < end;) {
      const uint32_t bytes = Decode(piece.text + i, piece.text + end).bytes;
      for (uint32_t k = 0; k < bytes; ++k) *--top = {piece.base + i, piece.base + i + bytes};
      i += bytes;
    }
  }
  scratch_->low_ += count;
  scratch_->high_ = reinterpret_cast<uint8_t*>(top);
  return true;
}

bool Encoder::Run(const uint8_t* text, uint32_t bytes) {
  text_ = {text, bytes, nullptr, 0};
  if (!Repair(text, bytes, &text_)) return false;
  const Piece whole = {text_.text, text_.bytes, nullptr, 0};
  if (options_.special && !Frame(true)) return false;
  const bool done =
      t_.added_raw_.nodes ? Added(whole, t_.added_raw_, &Encoder::Section) : Section(whole);
  return done && (!options_.special || Frame(false));
}

// Replaces what is not UTF-8 by U+FFFD; text that needs none stays where it is.
bool Encoder::Repair(const uint8_t* text, uint32_t bytes, Piece* out) {
  const uint8_t* const end = text + bytes;
  uint32_t bad = 0;
  bool cut = false;
  const auto skip = [&](const uint8_t* p) {
    while (p < end) {
      uint64_t word;
      if (end - p >= 8 && (std::memcpy(&word, p, 8), !(word & 0x8080808080808080u))) {
        p += 8;
        continue;
      }
      const uint32_t valid = ValidChar(p, end, &bad, &cut);
      if (!valid) break;
      p += valid;
    }
    return p;
  };
  const uint8_t* good = skip(text);
  if (good == end) return true;
  TextOut to(&scratch_);
  const Piece raw = {text, bytes, nullptr, 0};
  for (uint32_t from = 0;; good = skip(text + from)) {
    const auto at = static_cast<uint32_t>(good - text);
    if (!to.Copy(raw, from, at)) return false;
    if (good == end) break;
    if (!to.Put(kReplacement, 3, {at, at + bad})) return false;
    from = at + bad;
  }
  *out = to.Done();
  return true;
}

bool Encoder::Frame(bool before) {
  bool seen = false;
  for (uint32_t i = 0; i < t_.frame_count_; ++i) {
    if (t_.frame_[2 * i] != 0) {
      seen = true;
    } else if (seen != before) {
      Put(t_.frame_[2 * i + 1], {0, 0});
    }
  }
  return true;
}

bool Encoder::Section(const Piece& piece) {
  if (piece.bytes == 0) return true;
  const Scratch::Mark mark = scratch_.mark();
  Piece normal = piece;
  bool done = Normalize(&normal);
  if (done && normal.bytes) {
    done = t_.added_normalized_.nodes ? Added(normal, t_.added_normalized_, &Encoder::Words)
                                      : Words(normal);
  }
  scratch_.Release(mark);
  return done;
}

// The added tokens in a piece, leftmost and then longest; `rest` hears what is between them.
bool Encoder::Added(const Piece& piece, const Trie& trie, AfterAdded rest) {
  const uint8_t* text = piece.text;
  const uint32_t size = piece.bytes;
  const auto is = [&](const Char& c, int bit) { return t_.characters_[c.code] & bit; };
  uint32_t done = 0;
  for (uint32_t at = 0; at < size;) {
    uint32_t node = trie.root[text[at]], row = kNone, end = at + 1;
    for (uint32_t p = at + 1; node; ++p) {
      if (trie.value[node] != kNone) row = trie.value[node], end = p;
      if (p == size) break;
      node = trie.Child(node, text[p]);
    }
    if (row == kNone) {
      ++at;
      continue;
    }
    const uint32_t id = t_.added_[2 * row], flags = t_.added_[2 * row + 1];
    uint32_t start = at, stop = end;
    at = end;
    const auto before = [&](uint32_t p) {
      uint32_t q = p - 1;
      while (q > 0 && (text[q] & 0xc0) == 0x80) --q;
      return q;
    };
    if (flags & kSingleWord) {
      if (start > 0 && is(Decode(text + before(start), text + size), 1)) continue;
      if (stop < size && is(Decode(text + stop, text + size), 1)) continue;
    }
    if (flags & kLeft) {
      while (start > 0) {
        const uint32_t q = before(start);
        if (!is(Decode(text + q, text + size), 2)) break;
        start = q;
      }
      start = std::max(start, done);
    }
    if (flags & kRight) {
      while (stop < size) {
        const Char c = Decode(text + stop, text + size);
        if (!is(c, 2)) break;
        stop += c.bytes;
      }
    }
    if (done < start && !(this->*rest)(piece.Slice(done, start))) return false;
    // A token whose spaces the one before took keeps its own bytes.
    if (start < stop) EmitAdded(piece.Slice(start, stop), id);
    done = stop;
  }
  return done >= size || (this->*rest)(piece.Slice(done, size));
}

bool Encoder::Model(const Piece& word) {
  if (word.bytes == 0) return true;
  switch (static_cast<ModelKind>(info_.model)) {
    case ModelKind::kBpe:
      return Bpe(word);
    case ModelKind::kWordPiece:
      return WordPiece(word);
    case ModelKind::kUnigram:
      return Unigram(word);
    case ModelKind::kWordLevel:
      return WordLevel(word);
  }
  return false;
}

void Encoder::Put(uint32_t id, Span offsets) {
  if (sink_.count < sink_.capacity) {
    sink_.ids[sink_.count] = id;
    if (sink_.offsets) sink_.offsets[sink_.count] = offsets;
  }
  ++sink_.count;
}

void Encoder::Emit(const Piece& piece, uint32_t begin, uint32_t end, uint32_t id) {
  const bool wanted = sink_.offsets && sink_.count < sink_.capacity;
  const uint32_t left = t_.trims_ ? t_.trims_[2 * id] : 0;
  const uint32_t right = t_.trims_ ? t_.trims_[2 * id + 1] : 0;
  Put(id, wanted ? Offsets(piece, begin, end, left, right) : Span{0, 0});
  ++emitted_;
}

// The spaces of an added token are those of the text: it may have taken some from around it.
void Encoder::EmitAdded(const Piece& piece, uint32_t id) {
  const bool wanted = sink_.offsets && sink_.count < sink_.capacity;
  uint32_t left = 0, right = 0, at = 0;
  bool is_leading = true;
  while (wanted && t_.trims_ && at < piece.bytes) {
    const Char c = Decode(piece.text + at, piece.text + piece.bytes);
    const bool is_space = t_.characters_[c.code] & 2 || c.code == kSpaceLetter;
    is_leading &= is_space;
    left += is_leading;
    right = is_space ? right + 1 : 0;
    at += c.bytes;
  }
  Put(id, wanted ? Offsets(piece, 0, piece.bytes, left, right) : Span{0, 0});
  ++emitted_;
}

Span Encoder::Offsets(const Piece& piece, uint32_t begin, uint32_t end, uint32_t left,
                      uint32_t right) {
  Span found = {piece.Origin(begin).begin, piece.Origin(std::max(begin, end - 1)).end};
  if (options_.unit == Unit::kCharacters) {
    found.begin = CharactersBefore(found.begin);
    found.end = CharactersBefore(found.end);
  } else if (text_.spans && found.end > 0) {  // the text was repaired: back to the bytes it had
    found.end = text_.Origin(found.end - 1).end;
    found.begin = found.begin < text_.bytes ? text_.Origin(found.begin).begin : found.end;
  }
  const bool is_first = emitted_ == 0 || found.begin == 0;
  // One space may be the one that was put before the text; of more, none was.
  if (left == 1 && is_first && info_.flags & kTrimKeepsOne) left = 0;
  found.begin = std::min(found.begin + left, std::max(found.begin, found.end));
  if (right && found.end >= right) found.end = std::max(found.end - right, found.begin);
  return found;
}

// Characters in the first bytes of the text. Offsets mostly rise, so this walks on from the last.
uint32_t Encoder::CharactersBefore(uint32_t byte) {
  byte = std::min(byte, text_.bytes);
  const auto starts = [&](uint32_t i) { return (text_.text[i] & 0xc0) != 0x80; };
  while (counted_bytes_ < byte) counted_characters_ += starts(counted_bytes_++);
  while (counted_bytes_ > byte) counted_characters_ -= starts(--counted_bytes_);
  return counted_characters_;
}

Status Tokenizer::Encode(const char* text, size_t bytes, const EncodeOptions& options,
                         void* scratch, size_t scratch_bytes, TokenSink* sink) const {
  if (bytes > 0x3fffffff) return Error(Code::kInvalidArgument, "the text is longer than 1 GiB");
  sink->count = 0;
  Encoder encoder(*this, options, Scratch(scratch, scratch_bytes), sink);
  if (encoder.Run(reinterpret_cast<const uint8_t*>(text), static_cast<uint32_t>(bytes))) return {};
  return Error(Code::kOutOfMemory, "%zu bytes of scratch are too few for a text of %zu bytes",
               scratch_bytes, bytes);
}

}  // namespace smelt::text
