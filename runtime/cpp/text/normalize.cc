// Normalization: each step reads a text and writes the next, with the origin of every byte.
#include <algorithm>

#include "text/encoder.h"

namespace smelt::text {

// Leaves one text, moved to where the first began, so that steps do not add up in scratch.
bool Encoder::Normalize(Piece* piece) {
  const Scratch::Mark mark = scratch_.mark();
  for (uint32_t i = 0; i < t_.normalizers_.count; ++i) {
    Piece out;
    if (!Apply(t_.normalizers_.steps[i], *piece, &out)) return false;
    const bool is_new = out.text >= mark.low && out.text < mark.high && out.spans;
    if (is_new && out.text != mark.low) {
      Scratch moved = scratch_;
      moved.Release(mark);
      auto* text = moved.Take<uint8_t>(out.bytes);
      std::memmove(text, out.text, out.bytes);
      Span* spans = reinterpret_cast<Span*>(mark.high) - out.bytes;
      if (out.bytes) std::memmove(spans, out.spans - out.bytes + 1, out.bytes * sizeof(Span));
      scratch_.Release({text + out.bytes, reinterpret_cast<uint8_t*>(spans)});
      out = {text, out.bytes, reinterpret_cast<Span*>(mark.high) - 1, 0};
    }
    *piece = out;
    if (piece->bytes == 0) return true;
  }
  return true;
}

bool Encoder::Apply(const OpenStep& step, const Piece& piece, Piece* out) {
  switch (step.op) {
    case StepOp::kMap:
      return MapText(step, piece, out);
    case StepOp::kNormal:
      return Normal(step, piece, out);
    case StepOp::kPrepend:
      return Prepend(step, piece, out);
    case StepOp::kReplace:
      return Replace(step, piece, out);
    case StepOp::kCharsmap:
      return Charsmap(step, piece, out);
    case StepOp::kStrip: {
      uint32_t begin = 0, end = piece.bytes;
      while (step.b & 1 && begin < end) {
        const Char c = Decode(piece.text + begin, piece.text + end);
        if (!step.classes[c.code]) break;
        begin += c.bytes;
      }
      while (step.b & 2 && begin < end) {
        uint32_t last = end - 1;
        while (last > begin && (piece.text[last] & 0xc0) == 0x80) --last;
        if (!step.classes[Decode(piece.text + last, piece.text + end).code]) break;
        end = last;
      }
      *out = piece.Slice(begin, end);
      return true;
    }
    case StepOp::kSplit:
      break;  // a splitter only
  }
  *out = piece;
  return true;
}

bool Encoder::MapText(const OpenStep& step, const Piece& piece, Piece* out) {
  const uint8_t* const end = piece.text + piece.bytes;
  uint32_t from = 0;
  TextOut to(&scratch_);
  bool changed = false;
  for (uint32_t at = 0; at < piece.bytes;) {
    const Char c = Decode(piece.text + at, end);
    const uint32_t value = step.map[c.code];
    if (value) {
      changed = true;
      if (!to.Copy(piece, from, at)) return false;
      const uint8_t* text = step.strings.data(value - 1);
      const Span origin = piece.Origin(at);
      for (uint32_t i = 0; i < step.strings.size(value - 1); ++i) {
        // No text has this byte: it stands for the character itself.
        const bool is_own = text[i] == kItself;
        if (!to.Put(is_own ? piece.text + at : text + i, is_own ? c.bytes : 1, origin))
          return false;
      }
      from = at + c.bytes;
    }
    at += c.bytes;
  }
  if (!changed) {
    *out = piece;
    return true;
  }
  if (!to.Copy(piece, from, piece.bytes)) return false;
  *out = to.Done();
  return true;
}

bool Encoder::Prepend(const OpenStep& step, const Piece& piece, Piece* out) {
  const uint32_t bytes = step.strings.size(0);
  const bool has_it =
      step.c && piece.bytes >= bytes && std::memcmp(piece.text, step.strings.data(0), bytes) == 0;
  if (piece.bytes == 0 || has_it || (step.b == kAtStart && piece.Origin(0).begin != 0)) {
    *out = piece;
    return true;
  }
  TextOut to(&scratch_);
  if (!to.Put(step.strings.data(0), bytes, piece.Origin(0)) || !to.Copy(piece, 0, piece.bytes))
    return false;
  *out = to.Done();
  return true;
}

bool Encoder::Replace(const OpenStep& step, const Piece& piece, Piece* out) {
  TextOut to(&scratch_);
  uint32_t from = 0;
  for (uint32_t at = 0; at < piece.bytes;) {
    const uint32_t end = step.automaton.Match(piece.text, at, piece.bytes);
    if (end == kNone) {
      at += Decode(piece.text + at, piece.text + piece.bytes).bytes;
      continue;
    }
    if (!to.Copy(piece, from, at) ||
        !to.Put(step.strings.data(0), step.strings.size(0), piece.Origin(end - 1)))
      return false;
    from = at = end;
  }
  if (from == 0) {
    *out = piece;
    return true;
  }
  if (!to.Copy(piece, from, piece.bytes)) return false;
  *out = to.Done();
  return true;
}

// SentencePiece's map of characters, as `tokenizers` applies it: a grapheme of at most 5 bytes is
// looked up whole, then its characters; what is found is the shortest entry that begins it.
bool Encoder::Charsmap(const OpenStep& step, const Piece& piece, Piece* out) {
  const uint8_t* const end = piece.text + piece.bytes;
  const auto find = [&](uint32_t from, uint32_t until) {
    uint32_t node = 0;
    for (uint32_t p = from; p < until; ++p) {
      node = step.trie.Child(node, piece.text[p]);
      if (!node) break;
      if (step.trie.value[node] != kNone) return step.trie.value[node];
    }
    return kNone;
  };
  // Characters take the place of others one for one; those too many come from the last one. What
  // vanishes before anything was written is not accounted for, so origins then lag behind.
  uint32_t source = 0;
  uint32_t inserted = 0;  // bytes of the last character, if it took nobody's place
  bool wrote = false;
  const auto advance = [&] {
    if (source < piece.bytes) source += Decode(piece.text + source, end).bytes;
  };
  TextOut to(&scratch_);
  // Puts `stop - text` in the place of so many characters.
  const auto put = [&](const uint8_t* text, const uint8_t* stop, uint32_t replaced) {
    Span origin = {};
    for (; text < stop; wrote = true) {
      const uint32_t bytes = Decode(text, stop).bytes;
      inserted = replaced ? 0 : bytes;
      if (replaced) {
        origin = piece.Origin(std::min(source, piece.bytes - 1));
        advance();
        --replaced;
      }
      if (!to.Put(text, bytes, origin)) return false;
      text += bytes;
    }
    if (wrote && replaced && inserted) {  // it takes the place of what vanishes behind it
      to.Retag(inserted, piece.Origin(std::min(source, piece.bytes - 1)));
      inserted = 0;
    }
    for (; wrote && replaced; --replaced) advance();
    return true;
  };
  const auto string = [&](uint32_t index, uint32_t replaced) {
    const uint8_t* text = step.strings.data(index);
    return put(text, text + step.strings.size(index), replaced);
  };
  for (uint32_t at = 0; at < piece.bytes;) {
    uint32_t stop = step.automaton.Match(piece.text, at, piece.bytes);
    if (stop == kNone) stop = at + Decode(piece.text + at, end).bytes;
    const uint32_t whole = stop - at < 6 ? find(at, stop) : kNone;
    if (whole != kNone) {
      uint32_t replaced = 0;
      while (at < stop) {
        at += Decode(piece.text + at, end).bytes;
        ++replaced;
      }
      if (!string(whole, replaced)) return false;
      continue;
    }
    while (at < stop) {
      const uint32_t next = at + Decode(piece.text + at, end).bytes;
      const uint32_t one = find(at, next);
      if (one != kNone ? !string(one, 1) : !put(piece.text + at, piece.text + next, 1))
        return false;
      at = next;
    }
  }
  *out = to.Done();
  return true;
}

}  // namespace smelt::text
