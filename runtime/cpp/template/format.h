// A compiled chat template, exactly as it lies in the file (docs/templates.md).
//
// Goals: run in place; every index checked once at open; a hostile file gives an error. Non-goals:
// big-endian hosts; templates above 4 GiB. The numbers are those of frontend/template/names.py.
#pragma once

#include <cstdint>

namespace smelt::chat {

constexpr uint8_t kMagic[8] = {'s', 'm', 'e', 'l', 't', 't', 'p', 'l'};
constexpr uint32_t kVersion = 1;

enum class Part : uint32_t {
  kCode,       // Instruction
  kLines,      // u32: the template's line of each instruction
  kVariables,  // u32: the name of each variable, a string
  kMacros,     // MacroRecord
  kArguments,  // u32: variables
  kNumbers,    // i64 or f64
  kOffsets,    // u32: where strings begin, and where the last one ends
  kStrings,
  kLetters,  // LettersHead, LetterRange[], LetterRule[3][], texts (u8 length, bytes)
};
constexpr uint32_t kParts = 9;

struct PartRecord {
  uint32_t offset, bytes;
};

struct Header {
  uint8_t magic[8];
  uint32_t version, flags;
  uint64_t bytes;
  uint32_t given, zero;  // string: JSON, what names hold unless the caller says otherwise
  PartRecord parts[kParts];
};

enum HeaderFlag : uint32_t { kJoinParts = 1 };

enum class Op : uint8_t {
  kEnd,
  kText,     // c: string, written
  kWrite,    // pops what is written
  kString,   // c
  kInt,      // c: number
  kFloat,    // c: number
  kSpecial,  // a: Special, c: name when undefined
  kLoad,     // c: variable; a: push whether it is missing
  kStore,    // c
  kResolve,  // c: from what the caller gives, or the global functions
  kClear,    // c
  kCopy,     // b to c
  kJump,     // c
  kJumpFalse,
  kAnd,  // c: jump and keep the value when it is false, else pop it
  kOr,
  kNot,
  kBinary,   // a: Binary
  kNegate,   // a: 0 plus, 1 minus
  kCompare,  // a: Comparison
  kConcat,   // c values
  kAttr,     // c: name
  kItem,
  kSlice,   // start, stop, step
  kList,    // c values
  kTuple,   // c values
  kDict,    // c pairs
  kCall,    // a: arguments, b: pairs of name and value behind them
  kMethod,  // a: arguments, b: Method, c: its name
  kFilter,  // a: arguments, b: Filter
  kTest,    // a: arguments, b: Test
  kFor,     // pops what is looped over; c: 1 + the variable that becomes `loop`, or 0
  kNext,    // pushes the next item; c: where to go behind the last
  kBreak,   // c: where to go
  kKeep,    // value, item, list: appends the item if the value is true
  kUnpack,  // a: so many values, the first on top
  kCapture,
  kCaptured,  // pushes what was written since
  kSetAttr,   // pops a namespace, a value; c: name
  kMacro,     // c
  kReturn,
  kPop,
  kDup,
};
constexpr uint32_t kOps = static_cast<uint32_t>(Op::kDup) + 1;

struct Instruction {
  uint8_t op, a;
  uint16_t b;
  uint32_t c;
};

struct MacroRecord {
  uint32_t name, entry;
  uint32_t first_argument, arguments;  // of kArguments
  uint32_t first_variable, variables;  // what it owns: kept over calls inside calls
};

enum class Special : uint8_t { kMissing, kUndefined, kNone, kFalse, kTrue };
enum class Binary : uint8_t { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
enum class Comparison : uint8_t { kEqual, kNot, kLess, kLessEqual, kMore, kMoreEqual, kIn, kNotIn };
enum class Function : uint8_t { kRange, kNamespace, kDict, kRaise, kNow };
constexpr uint32_t kFunctions = 5;

enum class Filter : uint16_t {
  kTrim,
  kLength,
  kUpper,
  kLower,
  kCapitalize,
  kTitle,
  kReplace,
  kJoin,
  kFirst,
  kLast,
  kToJson,
  kDefault,
  kItems,
  kList,
  kString,
  kInt,
  kFloat,
  kMap,
  kMapAttribute,
  kSelect,
  kReject,
  kSelectAttr,
  kRejectAttr,
  kReverse,
  kSort,
  kDictSort,
  kSafe,
  kAbs,
  kIndent,
  kUnique,
  kSum,
  kMin,
  kMax,
};
constexpr uint32_t kFilters = static_cast<uint32_t>(Filter::kMax) + 1;
constexpr uint8_t kAnyCount = 255;
constexpr uint8_t kFilterArguments[kFilters] = {
    1,         0, 0,         0,         0,         0,         3, 2, 0, 0, 4, 2, 0, 0, 0, 1, 1,
    kAnyCount, 2, kAnyCount, kAnyCount, kAnyCount, kAnyCount, 0, 3, 3, 0, 0, 3, 2, 2, 2, 2};

enum class Test : uint16_t {
  kDefined,
  kUndefined,
  kNone,
  kString,
  kMapping,
  kIterable,
  kBoolean,
  kTrue,
  kFalse,
  kSequence,
  kNumber,
  kInteger,
  kFloat,
  kCallable,
  kOdd,
  kEven,
  kDivisibleBy,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kMore,
  kMoreEqual,
  kIn,
};
constexpr uint32_t kTests = static_cast<uint32_t>(Test::kIn) + 1;

enum class Method : uint16_t {
  kStrip,
  kLStrip,
  kRStrip,
  kSplit,
  kRSplit,
  kSplitLines,
  kStartsWith,
  kEndsWith,
  kUpper,
  kLower,
  kTitle,
  kCapitalize,
  kReplace,
  kJoin,
  kFind,
  kRFind,
  kCount,
  kIndex,
  kRemovePrefix,
  kRemoveSuffix,
  kIsDigit,
  kIsSpace,
  kItems,
  kKeys,
  kValues,
  kGet,
  kCycle,
};
constexpr uint32_t kMethods = static_cast<uint32_t>(Method::kCycle) + 1;
constexpr uint8_t kMethodArguments[kMethods] = {1, 1, 1, 2, 2, 1, 1, 1, 0, 0, 0, 0, 3,        1,
                                                1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 2, kAnyCount};

enum Letter : uint32_t { kHidden = 1, kCased = 2, kIgnored = 4, kDigit = 8 };
struct LettersHead {
  uint32_t ranges, rules[3];  // upper, lower, title
};
struct LetterRange {
  uint32_t first, properties;
};
struct LetterRule {
  uint32_t from, text;
};

static_assert(sizeof(Header) == 32 + 8 * kParts && sizeof(Instruction) == 8);
static_assert(sizeof(MacroRecord) == 24 && sizeof(LettersHead) == 16);

}  // namespace smelt::chat
