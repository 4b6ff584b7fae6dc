// Byte-pair encoding: the pair of least rank is merged first, the leftmost of equals.
#include <algorithm>

#include "text/encoder.h"

namespace smelt::text {

namespace {

// One bit for each pair of characters: clear where no token holds the two side by side, so that
// nothing is ever merged across. Equal hashes only cost speed.
uint32_t CutHash(uint32_t left, uint32_t right) {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
  return static_cast<uint32_t>(key * 0x9e3779b97f4a7c15u >> 32);
}

struct Candidate {
  uint32_t rank, at, id;
};
// For std::push_heap: the greatest is popped first.
bool IsLater(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

// Bytes of the letter that stands for a byte in the alphabet of byte-level vocabularies.
uint32_t LetterBytes(uint8_t byte) { return byte > 32 && byte < 127 ? 1 : 2; }

// The byte of a word whose letter holds byte `at` of the letters.
uint32_t ByteAt(const Piece& word, uint32_t at) {
  for (uint32_t i = 0; i < word.bytes; ++i) {
    const uint32_t size = LetterBytes(word.text[i]);
    if (at < size) return i;
    at -= size;
  }
  return word.bytes - 1;
}

constexpr uint32_t kFew = 40;  // up to here a plain search for the least rank is fastest

}  // namespace

bool Encoder::Bpe(const Piece& word) {
  at_ = 0;
  unknown_bytes_ = 0;
  if (!t_.cuts_) {
    if (!BpePart(word, 0, word.bytes)) return false;
  } else {
    const uint8_t* const end = word.text + word.bytes;
    Char left = Decode(word.text, end);
    uint32_t from = 0;
    for (uint32_t at = left.bytes; at < word.bytes;) {
      const Char right = Decode(word.text + at, end);
      const uint32_t bit = CutHash(left.code, right.code) & t_.cut_mask_;
      if (!(t_.cuts_[bit >> 3] >> (bit & 7) & 1)) {
        if (!BpePart(word, from, at)) return false;
        from = at;
      }
      at += right.bytes;
      left = right;
    }
    if (!BpePart(word, from, word.bytes)) return false;
  }
  FlushUnknown(word);
  return true;
}

uint32_t Encoder::Symbol(const Piece& word, uint32_t at, uint32_t bytes) const {
  uint32_t found;
  if (t_.affixes_.count) {
    uint8_t text[56];
    uint32_t size = 0;
    const auto append = [&](const uint8_t* from, uint32_t count) {
      std::memcpy(text + size, from, count);
      size += count;
    };
    if (at > 0) append(t_.affixes_.data(0), t_.affixes_.size(0));
    append(word.text + at, bytes);
    if (at + bytes == word.bytes) append(t_.affixes_.data(1), t_.affixes_.size(1));
    found = t_.words_.Find(text, size);
  } else if (t_.symbols_) {
    return t_.symbols_[word.text[at]];
  } else {
    found = t_.words_.Find(word.text + at, bytes);
  }
  return found == kNone ? kNone : found & ~kWhole;
}

bool Encoder::HasBytes(const uint8_t* text, uint32_t bytes) const {
  if (!t_.byte_symbols_) return false;
  for (uint32_t i = 0; i < bytes; ++i) {
    if (t_.byte_symbols_[text[i]] == kNone) return false;
  }
  return true;
}

void Encoder::FlushUnknown(const Piece& word) {
  if (!unknown_bytes_) return;
  Emit(word, at_, at_ + unknown_bytes_, info_.unknown);
  at_ += unknown_bytes_;
  unknown_bytes_ = 0;
}

// A stretch of a word across whose ends nothing is merged.
bool Encoder::BpePart(const Piece& word, uint32_t begin, uint32_t end) {
  const uint8_t* const text = word.text + begin;
  const uint32_t bytes = end - begin;
  if (bytes <= info_.longest) {
    const uint32_t found = t_.words_.Find(text, bytes);
    if (found != kNone && found & kWhole) {
      FlushUnknown(word);
      Emit(word, at_, at_ + bytes, found & ~kWhole);
      at_ += bytes;
      return true;
    }
  }
  const Scratch::Mark mark = scratch_.mark();
  uint32_t* ids = scratch_.Take<uint32_t>(bytes);
  uint32_t* sizes = scratch_.Take<uint32_t>(bytes);
  if (!ids || !sizes) return false;
  uint32_t count = 0;
  const auto add = [&](uint32_t id, uint32_t size) {
    ids[count] = id;
    sizes[count++] = size;
  };
  // Unknown text at the start of the word's next known symbol is one token, where it is fused.
  const auto flush = [&] {
    if (!unknown_bytes_) return;
    if (count == 0) {
      FlushUnknown(word);
    } else {
      add(info_.unknown, unknown_bytes_);
      unknown_bytes_ = 0;
    }
  };
  // Bytes without a token and without a stand-in vanish, and `tokenizers` then moves the offsets of
  // the word's other tokens ahead by the bytes of their letters. So do we.
  bool has_gaps = false;
  for (uint32_t i = 0; i < bytes && t_.symbols_ && info_.unknown == kNone; ++i)
    has_gaps |= Symbol(word, begin + i, 1) == kNone;
  for (uint32_t at = 0; at < bytes;) {
    const uint32_t size = t_.symbols_ ? 1 : Decode(text + at, text + bytes).bytes;
    const uint32_t id = Symbol(word, begin + at, size);
    if (has_gaps && id != kNone) {
      add(id, LetterBytes(text[at++]));
      continue;
    }
    if (id != kNone) {
      flush();
      add(id, size);
    } else if (HasBytes(text + at, size)) {  // waiting unknown text comes behind: so it is done
      for (uint32_t i = 0; i < size; ++i) add(t_.byte_symbols_[text[at + i]], 1);
    } else if (info_.unknown != kNone) {
      if (!(info_.flags & kFuseUnknown)) flush();
      unknown_bytes_ += size;
    }
    at += size;
  }
  if (!(count <= kFew ? MergeFew(ids, sizes, &count) : MergeMany(ids, sizes, &count))) return false;
  for (uint32_t i = 0; i < count; ++i) {
    if (has_gaps) {
      Emit(word, ByteAt(word, at_), ByteAt(word, at_ + sizes[i] - 1) + 1, ids[i]);
    } else {
      Emit(word, std::min(at_, word.bytes - 1), std::min(at_ + sizes[i], word.bytes), ids[i]);
    }
    at_ += sizes[i];
  }
  scratch_.Release(mark);
  return true;
}

bool Encoder::MergeFew(uint32_t* ids, uint32_t* sizes, uint32_t* count) {
  const PairSlot* pairs[kFew];
  uint32_t n = *count;
  for (uint32_t i = 0; i + 1 < n; ++i) pairs[i] = t_.pairs_.Find(ids[i], ids[i + 1]);
  while (n > 1) {
    uint32_t best = kNone, rank = kNone;
    for (uint32_t i = 0; i + 1 < n; ++i) {
      if (pairs[i] && pairs[i]->rank < rank) best = i, rank = pairs[i]->rank;
    }
    if (best == kNone) break;
    ids[best] = pairs[best]->id;
    sizes[best] += sizes[best + 1];
    --n;
    for (uint32_t i = best + 1; i < n; ++i) {
      ids[i] = ids[i + 1];
      sizes[i] = sizes[i + 1];
      pairs[i - 1] = pairs[i];
    }
    if (best > 0) pairs[best - 1] = t_.pairs_.Find(ids[best - 1], ids[best]);
    if (best + 1 < n) pairs[best] = t_.pairs_.Find(ids[best], ids[best + 1]);
  }
  *count = n;
  return true;
}

bool Encoder::MergeMany(uint32_t* ids, uint32_t* sizes, uint32_t* count) {
  const uint32_t n = *count;
  const Scratch::Mark mark = scratch_.mark();
  uint32_t* before = scratch_.Take<uint32_t>(n);
  uint32_t* after = scratch_.Take<uint32_t>(n);
  // Each merge takes one candidate and makes at most two.
  Candidate* heap = scratch_.Take<Candidate>(size_t{2} * n);
  if (!before || !after || !heap) return false;
  uint32_t size = 0;
  const auto consider = [&](uint32_t left, uint32_t right) {
    const PairSlot* pair = t_.pairs_.Find(ids[left], ids[right]);
    if (pair) heap[size++] = {pair->rank, left, pair->id};
    return pair != nullptr;
  };
  for (uint32_t i = 0; i < n; ++i) {
    before[i] = i - 1;  // kNone for the first
    after[i] = i + 1 < n ? i + 1 : kNone;
    if (i + 1 < n) consider(i, i + 1);
  }
  std::make_heap(heap, heap + size, IsLater);
  while (size) {
    std::pop_heap(heap, heap + size, IsLater);
    const Candidate top = heap[--size];
    const uint32_t right = after[top.at];
    if (sizes[top.at] == 0 || right == kNone) continue;
    const PairSlot* pair = t_.pairs_.Find(ids[top.at], ids[right]);
    if (!pair || pair->id != top.id) continue;  // one of the two was merged since
    ids[top.at] = top.id;
    sizes[top.at] += sizes[right];
    sizes[right] = 0;
    after[top.at] = after[right];
    if (after[right] != kNone) before[after[right]] = top.at;
    if (before[top.at] != kNone && consider(before[top.at], top.at))
      std::push_heap(heap, heap + size, IsLater);
    if (after[top.at] != kNone && consider(top.at, after[top.at]))
      std::push_heap(heap, heap + size, IsLater);
  }
  uint32_t out = 0;
  for (uint32_t i = 0; i < n; ++i) {
    if (sizes[i] == 0) continue;
    ids[out] = ids[i];
    sizes[out++] = sizes[i];
  }
  *count = out;
  scratch_.Release(mark);
  return true;
}

}  // namespace smelt::text
