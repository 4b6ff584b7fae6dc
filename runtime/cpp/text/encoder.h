// One text on its way to tokens. Scratch is a stack with two ends: text grows from the low end,
// where it came from (a span for each byte) from the high end, downwards.
#pragma once

#include "text/tokenizer.h"

namespace smelt::text {

// A stretch of text. Byte i came from spans[-i], or, where spans is null, is byte base + i of the
// original.
struct Piece {
  const uint8_t* text = nullptr;
  uint32_t bytes = 0;
  const Span* spans = nullptr;
  uint32_t base = 0;

  Piece Slice(uint32_t begin, uint32_t end) const {
    return {text + begin, end - begin, spans ? spans - begin : nullptr, base + begin};
  }
  // What byte i came from.
  Span Origin(uint32_t i) const {
    if (spans) return spans[-static_cast<ptrdiff_t>(i)];
    uint32_t begin = i, end = i + 1;
    while (begin > 0 && (text[begin] & 0xc0) == 0x80) --begin;
    while (end < bytes && (text[end] & 0xc0) == 0x80) ++end;
    return {base + begin, base + end};
  }
};

class Scratch {
 public:
  Scratch(void* memory, size_t bytes) {
    auto at = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t end = (at + bytes) & ~uintptr_t{15};
    at = (at + 15) & ~uintptr_t{15};
    low_ = reinterpret_cast<uint8_t*>(at);
    high_ = end > at ? reinterpret_cast<uint8_t*>(end) : low_;
  }
  struct Mark {
    uint8_t *low, *high;
  };
  Mark mark() const { return {low_, high_}; }
  void Release(Mark mark) { low_ = mark.low, high_ = mark.high; }
  size_t room() const { return static_cast<size_t>(high_ - low_); }

  // `count` values at the low end; null when there is no room.
  template <typename T>
  T* Take(size_t count) {
    const size_t padding = -reinterpret_cast<uintptr_t>(low_) & (alignof(T) - 1);
    if (room() < padding || (room() - padding) / sizeof(T) < count) return nullptr;
    T* taken = reinterpret_cast<T*>(low_ + padding);
    low_ += padding + count * sizeof(T);
    return taken;
  }

 private:
  friend class TextOut;
  uint8_t *low_, *high_;
};

// Writes a new text into scratch, byte by byte with its origin.
class TextOut {
 public:
  explicit TextOut(Scratch* scratch)
      : scratch_(scratch),
        text_(scratch->low_),
        spans_(reinterpret_cast<Span*>(scratch->high_) - 1) {}

  bool Put(const uint8_t* bytes, uint32_t count, Span origin) {
    if (scratch_->room() < count * (1 + sizeof(Span)) + 16) return false;
    Span* top = reinterpret_cast<Span*>(scratch_->high_);
    for (uint32_t i = 0; i < count; ++i) {
      scratch_->low_[i] = bytes[i];
      *--top = origin;
    }
    scratch_->low_ += count;
    scratch_->high_ = reinterpret_cast<uint8_t*>(top);
    return true;
  }
  bool PutCode(uint32_t code, Span origin) {
    uint8_t bytes[4];
    return Put(bytes, Encode(code, bytes), origin);
  }
  // Says anew where the last bytes came from.
  void Retag(uint32_t count, Span origin) {
    Span* top = reinterpret_cast<Span*>(scratch_->high_);
    for (uint32_t i = 0; i < count && top + i <= spans_; ++i) top[i] = origin;
  }
  // Bytes of a piece as they are, with the origins that they have.
  bool Copy(const Piece& piece, uint32_t begin, uint32_t end);
  // Closes the text; spans stay 8-byte, scratch 16-byte aligned.
  Piece Done() const { return {text_, static_cast<uint32_t>(scratch_->low_ - text_), spans_, 0}; }

 private:
  Scratch* scratch_;
  uint8_t* text_;
  Span* spans_;
};

class Encoder {
 public:
  Encoder(const Tokenizer& t, const EncodeOptions& options, Scratch scratch, TokenSink* sink)
      : t_(t), info_(*t.info_), options_(options), scratch_(scratch), sink_(*sink) {}
  // False: too little scratch.
  bool Run(const uint8_t* text, uint32_t bytes);

 private:
  using OpenStep = Tokenizer::OpenStep;
  using AfterAdded = bool (Encoder::*)(const Piece&);

  bool Repair(const uint8_t* text, uint32_t bytes, Piece* out);
  bool Added(const Piece& piece, const Trie& trie, AfterAdded rest);
  bool Section(const Piece& piece);  // between raw added tokens
  bool Words(const Piece& piece) { return Split(piece, 0); }
  bool Frame(bool before);

  // normalize.cc
  bool Normalize(Piece* piece);
  bool Apply(const OpenStep& step, const Piece& piece, Piece* out);
  bool MapText(const OpenStep& step, const Piece& piece, Piece* out);
  bool Normal(const OpenStep& step, const Piece& piece, Piece* out);
  bool NormalRun(const OpenStep& step, const Piece& piece, uint32_t begin, uint32_t end,
                 TextOut* to);
  bool Prepend(const OpenStep& step, const Piece& piece, Piece* out);
  bool Replace(const OpenStep& step, const Piece& piece, Piece* out);
  bool Charsmap(const OpenStep& step, const Piece& piece, Piece* out);

  // split.cc
  bool Split(const Piece& piece, uint32_t step);
  bool Cut(const OpenStep& step, const Piece& piece, uint32_t next);

  // The models: a word to tokens.
  bool Model(const Piece& word);
  bool Bpe(const Piece& word);
  bool BpePart(const Piece& word, uint32_t begin, uint32_t end);
  bool MergeFew(uint32_t* ids, uint32_t* sizes, uint32_t* count);
  bool MergeMany(uint32_t* ids, uint32_t* sizes, uint32_t* count);
  // The token of a character, or byte, of a word; kNone when there is none.
  uint32_t Symbol(const Piece& word, uint32_t at, uint32_t bytes) const;
  // Whether each of these bytes has a token of its own.
  bool HasBytes(const uint8_t* text, uint32_t bytes) const;
  void FlushUnknown(const Piece& word);
  bool WordPiece(const Piece& word);
  bool Unigram(const Piece& word);
  bool WordLevel(const Piece& word);

  // A token that stands for bytes [begin, end) of a piece.
  void Emit(const Piece& piece, uint32_t begin, uint32_t end, uint32_t id);
  void EmitAdded(const Piece& piece, uint32_t id);
  void Put(uint32_t id, Span offsets);
  // Where bytes come from, without so many spaces at either end.
  Span Offsets(const Piece& piece, uint32_t begin, uint32_t end, uint32_t left, uint32_t right);
  uint32_t CharactersBefore(uint32_t byte);

  const Tokenizer& t_;
  const Info& info_;
  const EncodeOptions options_;
  Scratch scratch_;
  TokenSink& sink_;
  Piece text_;  // the whole text, repaired where it was not UTF-8
  uint32_t emitted_ = 0;
  uint32_t counted_bytes_ = 0, counted_characters_ = 0;
  uint32_t at_ = 0;             // BPE: where the next token of this word begins
  uint32_t unknown_bytes_ = 0;  // BPE: unknown text that may still grow
};

}  // namespace smelt::text
