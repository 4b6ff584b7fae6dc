// Splitting a text into words: automata find the matches, a behaviour says where to cut.
#include "text/encoder.h"

namespace smelt::text {

// Applies the splitters from `step` on, depth first: a word goes to the model as soon as it is cut.
bool Encoder::Split(const Piece& piece, uint32_t step) {
  if (piece.bytes == 0) return true;
  if (step == t_.splitters_.count) return Model(piece);
  const OpenStep& open = t_.splitters_.steps[step];
  if (open.op == StepOp::kSplit) return Cut(open, piece, step + 1);
  const Scratch::Mark mark = scratch_.mark();
  Piece changed;
  const bool done = Apply(open, piece, &changed) && Split(changed, step + 1);
  scratch_.Release(mark);
  return done;
}

bool Encoder::Cut(const OpenStep& step, const Piece& piece, uint32_t next) {
  const auto behavior = static_cast<Behavior>(step.b);
  const bool inverted = step.c != 0;
  uint32_t held = kNone;  // where the segment that waits for its neighbour begins
  uint32_t held_end = 0;
  bool held_matches = false;
  const auto flush = [&] { return held == kNone || Split(piece.Slice(held, held_end), next); };
  // Hears the segments from left to right.
  const auto segment = [&](uint32_t begin, uint32_t end, bool matches) {
    matches = matches != inverted;
    bool joins = false;
    switch (behavior) {
      case Behavior::kIsolated:
        return Split(piece.Slice(begin, end), next);
      case Behavior::kRemoved:
        return matches || Split(piece.Slice(begin, end), next);
      case Behavior::kWithPrevious:
        joins = matches && held != kNone && !held_matches;
        break;
      case Behavior::kWithNext:
        joins = held != kNone && held_matches && !matches;
        break;
      case Behavior::kContiguous:
        joins = held != kNone && held_matches == matches;
        break;
    }
    if (!joins) {
      if (!flush()) return false;
      held = begin;
    }
    held_end = end;
    held_matches = matches;
    return true;
  };
  uint32_t from = 0;
  for (uint32_t at = 0; at < piece.bytes;) {
    const uint32_t end = step.automaton.Match(piece.text, at, piece.bytes);
    if (end == kNone) {
      at += Decode(piece.text + at, piece.text + piece.bytes).bytes;
      continue;
    }
    if (from < at && !segment(from, at, false)) return false;
    if (!segment(at, end, true)) return false;
    from = at = end;
  }
  if (from < piece.bytes && !segment(from, piece.bytes, false)) return false;
  return flush();
}

}  // namespace smelt::text
