// The tables of a compiled tokenizer, exactly as they lie in the file (docs/tokenizer.md).
//
// Goals: read in place; every index checked once at open; a hostile file gives an error. Non-goals:
// big-endian hosts; files above 4 GiB.
#pragma once

#include <cstdint>

namespace smelt::text {

constexpr uint8_t kMagic[8] = {'s', 'm', 'e', 'l', 't', 't', 'x', 't'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kNone = 0xffffffffu;
constexpr uint32_t kMostTables = 256;
constexpr uint32_t kMostSteps = 32;           // of one list
constexpr uint32_t kStage1 = 0x110000 / 128;  // blocks of 128 code points

struct Header {
  uint8_t magic[8];
  uint32_t version, tables;
  uint64_t bytes, zero;
};

enum class Kind : uint32_t {
  kInfo,
  kSteps,      // Step
  kClasses,    // code point -> u8
  kMap,        // code point -> u16: 0 for itself, else 1 + a string
  kAutomaton,  // a deterministic automaton over classes
  kTrie,       // byte strings -> u32
  kPairs,      // (u32, u32) -> (rank, id)
  kStrings,    // u32 -> bytes
  kWords,      // bytes -> id
  kReals,      // f64
  kWords32,    // u32
  kBytes,      // u8
};

struct TableRecord {
  uint32_t kind, offset, bytes, zero;  // offsets are multiples of 16, in order
};

enum class ModelKind : uint32_t { kBpe, kWordPiece, kUnigram, kWordLevel };

enum Flag : uint32_t {
  kFuseUnknown = 1,
  kByteFallback = 2,
  kWholeWords = 4,     // a word in the vocabulary is not made of parts
  kTrimOffsets = 8,    // offsets leave out the spaces around a token
  kTrimKeepsOne = 16,  // but not a single one at the start of the text
  kLossyBytes = 32,    // decoding: pieces are bytes; what is not UTF-8 becomes U+FFFD
};

// Absent tables are kNone.
struct Info {
  uint32_t model, flags, vocab, unknown;
  uint32_t normalizers, splitters;         // kSteps
  uint32_t added_raw, added_normalized;    // kTrie -> row of `added`
  uint32_t added;                          // kWords32: id, AddedFlag
  uint32_t characters;                     // kClasses: bit 0 of a word, bit 1 white space
  uint32_t strings, words, longest;        // kStrings by id, kWords; bytes of the longest word
  uint32_t pairs, symbols, cuts;           // BPE: kPairs, kWords32[256] or none, kBytes (bits)
  uint32_t byte_symbols;                   // kWords32[256]: byte fallback
  uint32_t heads, tails, most_characters;  // WordPiece: kTrie, kTrie; Unigram: heads
  uint32_t scores;                         // Unigram: kReals
  uint32_t frame;                          // kWords32: FrameOp, id ...
  uint32_t first_pieces, rest_pieces;      // kStrings by id
  uint32_t piece_flags;                    // kBytes by id: PieceFlag
  uint32_t trims;                          // kBytes: leading and trailing spaces by id
  uint32_t strip_left, strip_byte;         // decoding: so many of this byte go from the start
  uint32_t affixes;  // BPE: kStrings, put before all characters but the first, behind the last
  uint32_t zero[3];
};

enum AddedFlag : uint32_t { kSingleWord = 1, kLeft = 2, kRight = 4 };
enum PieceFlag : uint8_t { kSpecial = 1, kByte = 2, kKnown = 4 };

enum class StepOp : uint32_t {
  kMap,       // a: kMap, b: kStrings
  kNormal,    // a: kMap (decompositions), b: kStrings, c: kClasses (combining class), d: kClasses
              // (1: may change), e: kPairs (compositions) or kNone
  kPrepend,   // a: kStrings (the first), b: PrependWhen, c: PrependUnless
  kStrip,     // a: kClasses (1: strip), b: 1 left | 2 right
  kReplace,   // a: kAutomaton, b: kStrings (the first)
  kSplit,     // a: kAutomaton, b: Behavior, c: invert
  kCharsmap,  // a: kTrie -> string, b: kStrings, c: kAutomaton (graphemes)
};

struct Step {
  uint32_t op, a, b, c, d, e, zero[2];
};

constexpr uint8_t kItself = 0xff;  // in the strings of a map: the character that is replaced

enum PrependWhen : uint32_t { kAlways, kAtStart };
enum class Behavior : uint32_t { kRemoved, kIsolated, kWithPrevious, kWithNext, kContiguous };

// Automata: u32 classes table, classes, states, zero; then u16 next[states][classes + 1], the last
// column for the end of the text. The high bit: what was read before this character is a match.
constexpr uint16_t kMatched = 0x8000;
constexpr uint16_t kState = 0x7fff;  // 0: dead, 1: start

struct PairSlot {
  uint32_t left, right, rank, id;  // empty: id is kNone
};

struct WordSlot {
  uint32_t print, id;  // id: kNone when empty; kWhole: the word is encoded as this one token
};
constexpr uint32_t kWhole = 0x80000000u;

enum class FrameOp : uint32_t { kToken, kFirst, kSecond };  // each with an id (token) and a type

static_assert(sizeof(Header) == 32 && sizeof(TableRecord) == 16 && sizeof(Info) == 128);
static_assert(sizeof(Step) == 32 && sizeof(PairSlot) == 16 && sizeof(WordSlot) == 8);

}  // namespace smelt::text
