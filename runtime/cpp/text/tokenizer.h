// A compiled tokenizer: text to ids with offsets, ids to text. Nothing allocates: tables are used
// in place, scratch is the caller's. Immutable, so any number of threads may share one.
#pragma once

#include <cstddef>

#include "core/status.h"
#include "text/tables.h"

namespace smelt::text {

struct Span {
  uint32_t begin, end;
};

enum class Unit { kBytes, kCharacters };

struct EncodeOptions {
  bool special = true;  // add the tokens that frame a text
  Unit unit = Unit::kBytes;
};

// Where tokens go; `count` may end above `capacity`: then that many are needed.
struct TokenSink {
  int64_t* ids = nullptr;
  Span* offsets = nullptr;  // may be null
  size_t capacity = 0, count = 0;
};

// What a stream of tokens has not shown yet; starts as zeros.
struct StreamState {
  uint8_t held[4];
  uint8_t count, is_started, is_run, zero;
  uint32_t stripped;
};

class Tokenizer {
 public:
  // The bytes outlive the tokenizer and are 8-byte aligned (others are refused): they are read in
  // place.
  static Result<Tokenizer> Open(const void* bytes, size_t size);

  // Scratch that is enough for most texts of this many bytes.
  static size_t ScratchBytes(size_t text_bytes) { return 4096 + 48 * text_bytes; }
  // kOutOfMemory when the scratch is too small: try again with more. Broken UTF-8 is read as
  // U+FFFD.
  Status Encode(const char* text, size_t bytes, const EncodeOptions& options, void* scratch,
                size_t scratch_bytes, TokenSink* sink) const;

  // The bytes that the ids decode to; what lies above `capacity` is counted, not written.
  size_t Decode(const int64_t* ids, size_t count, bool skip_special, char* out,
                size_t capacity) const;
  // One token: the text that it completes, at most StreamBytes(); `final` shows what is left.
  size_t Push(StreamState* state, int64_t id, bool skip_special, char* out) const;
  size_t Finish(StreamState* state, char* out) const;
  size_t StreamBytes() const { return longest_piece_ + 12; }

  uint32_t vocab_size() const { return info_->vocab; }

 private:
  friend class Opener;
  friend class Encoder;
  friend class PieceWriter;

  struct OpenStep {
    StepOp op;
    uint32_t b, c;
    Automaton automaton;
    Map map;
    Strings strings;
    Classes classes, active;
    Pairs pairs;
    Trie trie;
    bool composes;
  };
  struct StepList {
    uint32_t count = 0;
    OpenStep steps[kMostSteps];
  };

  const Info* info_ = nullptr;
  StepList normalizers_, splitters_;
  Trie added_raw_, added_normalized_, heads_, tails_;
  const uint32_t* added_ = nullptr;
  Classes characters_;
  Words words_;
  Pairs pairs_;
  const uint32_t* symbols_ = nullptr;
  const uint32_t* byte_symbols_ = nullptr;
  Strings affixes_;
  const uint8_t* cuts_ = nullptr;
  uint32_t cut_mask_ = 0;
  const double* scores_ = nullptr;
  const uint32_t* frame_ = nullptr;
  uint32_t frame_count_ = 0;
  Strings first_pieces_, rest_pieces_;
  const uint8_t* piece_flags_ = nullptr;
  const uint8_t* trims_ = nullptr;
  double unknown_score_ = 0;
  size_t longest_piece_ = 0;
};

}  // namespace smelt::text
