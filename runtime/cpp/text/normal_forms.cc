// NFC, NFD, NFKC and NFKD. Text that is inert in the form is copied; the runs between are
// decomposed, put into canonical order, and composed again where the form asks for it.
#include <algorithm>

#include "text/encoder.h"

namespace smelt::text {

namespace {

constexpr uint32_t kHangul = 0xac00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11a7;
constexpr uint32_t kVowels = 21, kTails = 28, kSyllables = 11172, kLeads = 19;

// A character and how it changes the text: 1 is inserted, 0 replaces, -n also removes n behind it.
struct Item {
  uint32_t code;
  int32_t change;
  uint32_t rank;   // combining class
  uint32_t index;  // keeps the order of equal ranks
};

uint32_t Compose(const Pairs& pairs, uint32_t a, uint32_t b) {
  if (a - kLead < kLeads && b - kVowel < kVowels)
    return kHangul + ((a - kLead) * kVowels + (b - kVowel)) * kTails;
  if (a - kHangul < kSyllables && (a - kHangul) % kTails == 0 && b - kTail - 1 < kTails - 1)
    return a + (b - kTail);
  const PairSlot* slot = pairs.Find(a, b);
  return slot ? slot->id : kNone;
}

uint32_t ComposeRun(const Pairs& pairs, Item* items, uint32_t count) {
  uint32_t out = 0, base = kNone, last = 0;  // last: class of the item before, since the base
  for (uint32_t i = 0; i < count; ++i) {
    const Item item = items[i];
    const bool is_free = base != kNone && (out == base + 1 || last < item.rank);
    const uint32_t made = is_free ? Compose(pairs, items[base].code, item.code) : kNone;
    if (made != kNone) {
      items[base].code = made;
      items[base].change += item.change - 1;
      continue;
    }
    if (item.rank == 0) base = out;
    last = item.rank;
    items[out++] = item;
  }
  return out;
}

}  // namespace

bool Encoder::Normal(const OpenStep& step, const Piece& piece, Piece* out) {
  const uint8_t* const end = piece.text + piece.bytes;
  TextOut to(&scratch_);
  uint32_t copied = 0, starter = 0;
  bool changed = false;
  for (uint32_t at = 0; at < piece.bytes;) {
    if (piece.text[at] < 0x80) {  // inert in every form
      starter = at++;
      continue;
    }
    Char c = Decode(piece.text + at, end);
    if (!step.active[c.code]) {
      starter = at;
      at += c.bytes;
      continue;
    }
    // The character before may take part, up to the next inert one.
    const uint32_t from = std::max(starter, copied);
    while (at < piece.bytes) {
      c = Decode(piece.text + at, end);
      if (!step.active[c.code]) break;
      at += c.bytes;
    }
    changed = true;
    if (!to.Copy(piece, copied, from) || !NormalRun(step, piece, from, at, &to)) return false;
    copied = starter = at;
  }
  if (!changed) {
    *out = piece;
    return true;
  }
  if (!to.Copy(piece, copied, piece.bytes)) return false;
  *out = to.Done();
  return true;
}

bool Encoder::NormalRun(const OpenStep& step, const Piece& piece, uint32_t begin, uint32_t end,
                        TextOut* to) {
  const uint8_t* const stop = piece.text + end;
  // Items lie in the middle of the free scratch, so that the text can grow below them.
  const Scratch::Mark mark = scratch_.mark();
  const uint64_t room = scratch_.room();
  uint32_t most = 0;
  for (uint32_t at = begin; at < end;) {
    const Char c = Decode(piece.text + at, stop);
    const uint32_t value = step.map[c.code];
    most += value ? std::max(step.strings.size(value - 1), 1u) : 3;
    at += c.bytes;
  }
  constexpr uint32_t kFew = 64;
  Item few[kFew];
  Item* items = few;
  if (most > kFew) {
    // Enough for the text that comes of it (4 bytes a character, 9 with origins) on both sides.
    const uint64_t need = uint64_t{most} * (sizeof(Item) + 4 * 9) + 64;
    if (room < need) return false;
    auto at = reinterpret_cast<uintptr_t>(mark.low) + uint64_t{most} * 4 + 16;
    items = reinterpret_cast<Item*>((at + 7) & ~uintptr_t{7});
  }
  uint32_t count = 0, pending = 0;
  const auto order = [&] {
    if (count - pending < 2) return;
    std::sort(items + pending, items + count, [](const Item& a, const Item& b) {
      return a.rank != b.rank ? a.rank < b.rank : a.index < b.index;
    });
  };
  const auto push = [&](uint32_t code, bool is_first) {
    const uint32_t rank = step.classes[code];
    if (rank == 0) {
      order();
      pending = count;
    }
    items[count] = {code, is_first ? 0 : 1, rank, count};
    ++count;
    if (rank == 0) pending = count;
  };
  for (uint32_t at = begin; at < end;) {
    const Char c = Decode(piece.text + at, stop);
    at += c.bytes;
    const uint32_t value = step.map[c.code], syllable = c.code - kHangul;
    if (syllable < kSyllables) {
      push(kLead + syllable / (kVowels * kTails), true);
      push(kVowel + syllable / kTails % kVowels, false);
      if (syllable % kTails) push(kTail + syllable % kTails, false);
    } else if (value) {
      const uint8_t* p = step.strings.data(value - 1);
      const uint8_t* const last = p + step.strings.size(value - 1);
      for (bool is_first = true; p < last; is_first = false) {
        const Char part = Decode(p, last);
        push(part.code, is_first);
        p += part.bytes;
      }
    } else {
      push(c.code, true);
    }
  }
  order();
  if (step.composes) count = ComposeRun(step.pairs, items, count);
  uint32_t at = begin;
  for (uint32_t i = 0; i < count; ++i) {
    // What is inserted comes from the character before; what replaces several, from their first.
    Span origin = piece.Origin(at > 0 && (items[i].change > 0 || at >= end) ? at - 1 : at);
    if (items[i].change > 0 && at == 0) origin.end = origin.begin;
    for (int32_t n = items[i].change; n <= 0 && at < end; ++n)
      at += Decode(piece.text + at, stop).bytes;
    if (!to->PutCode(items[i].code, origin)) return false;
  }
  return true;
}

}  // namespace smelt::text
