// The records of model.smelt, exactly as they lie in the file (docs/artifact.md says what they
// mean).
//
// Goals: read in place from a mapped file; every field checked once at open; the same model gives
// the same bytes. Non-goals: big-endian hosts; editing.
#pragma once

#include <cstdint>

namespace smelt {

constexpr uint8_t kMagic[8] = {'s', 'm', 'e', 'l', 't', '\r', '\n', 0x1a};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kNone = 0xffffffffu;
constexpr int kMaxRank = 6;

enum class Segment : uint32_t {
  kStrings,
  kFeatures,
  kSettings,
  kSymbols,
  kDims,
  kSlots,
  kBuffers,
  kBelow,
  kTensors,
  kOperands,
  kAttributes,
  kInstructions,
  kPorts,
  kBinds,
  kFunctions,
  kWeights,
  kWeightData,
  kFiles,  // behind the weights, so that a certificate can be added without moving them
  kFileData,
  kCount,
};
constexpr uint32_t kSegments = static_cast<uint32_t>(Segment::kCount);

enum class Elem : uint8_t { kF32, kF16, kBf16, kI64, kI32, kI8, kU8, kBool, kOpaque };
enum class Storage : uint8_t { kArena, kWeight, kState, kInput };
enum class SlotKind : uint8_t { kAppend, kReplace };
enum class SlotLayout : uint8_t { kFull, kRing };
enum class DimOp : uint32_t { kConst, kSymbol, kAdd, kSub, kMul, kFloorDiv };
enum class BindSource : uint32_t {
  kInput,
  kSlot,
  kTokens,  // all that the session was fed
  kAsked,   // rows of an output that the caller wants, at most the symbol `index`
};
constexpr uint8_t kDense = 0xff;  // WeightRecord::format of plain row-major data

struct StringRef {
  uint32_t offset, bytes;
};

struct FileHeader {
  uint8_t magic[8];
  uint32_t version, segments;
  uint64_t file_bytes;
  uint32_t crc;  // of header and segment table, this field as zero
  uint32_t zero[9];
};

struct SegmentRecord {
  uint32_t kind, crc;
  uint64_t offset, bytes, zero;
};

struct FeatureRecord {
  StringRef name;
};

struct SettingRecord {
  StringRef key;
  int64_t value;
};

struct SymbolRecord {
  StringRef name;
  int64_t low, high;
};

struct DimRecord {
  uint32_t op, zero;
  int64_t a, b;
};

struct SlotRecord {
  StringRef name;
  uint8_t kind, layout, elem, rank;
  uint32_t axis;
  uint32_t dims[kMaxRank];  // kNone on the axis that grows
  uint32_t window, zero;
};

struct BufferRecord {
  uint32_t bytes;  // dim node
  uint32_t first_below, below_count, zero;
};

struct TensorRecord {
  StringRef name;
  uint8_t elem, rank, storage, strided;
  uint32_t index;
  uint32_t offset;  // dim node, elements; kNone: 0
  uint32_t dims[kMaxRank];
  uint32_t strides[kMaxRank];  // used when strided
  uint32_t zero;
};

struct InstructionRecord {
  uint16_t opcode;
  uint8_t outputs, inputs;
  uint32_t first_operand, first_attribute, attributes;
  StringRef source;
};

struct PortRecord {
  StringRef name;
  uint32_t tensor, zero;
};

struct BindRecord {
  uint32_t symbol, source, index, axis;
};

struct FunctionRecord {
  StringRef name;
  uint32_t first_buffer, buffers;
  uint32_t first_tensor, tensors;
  uint32_t first_instruction, instructions;
  uint32_t first_input, inputs;
  uint32_t first_output, outputs;
  uint32_t first_bind, binds;
};

struct WeightRecord {
  StringRef name;
  uint8_t format, elem, rank, symmetric;
  uint32_t group;
  int64_t dims[kMaxRank];
  uint64_t offset, bytes;
  uint32_t crc, zero;
};

struct FileRecord {
  char name[104];  // terminated, zeros behind
  uint64_t offset, bytes;
  uint32_t crc, zero;
};

static_assert(sizeof(FileHeader) == 64 && sizeof(SegmentRecord) == 32);
static_assert(sizeof(FeatureRecord) == 8 && sizeof(SettingRecord) == 16);
static_assert(sizeof(SymbolRecord) == 24 && sizeof(DimRecord) == 24 && sizeof(SlotRecord) == 48);
static_assert(sizeof(BufferRecord) == 16 && sizeof(TensorRecord) == 72);
static_assert(sizeof(InstructionRecord) == 24 && sizeof(PortRecord) == 16);
static_assert(sizeof(BindRecord) == 16 && sizeof(FunctionRecord) == 56);
static_assert(sizeof(WeightRecord) == 88 && sizeof(FileRecord) == 128);

inline int64_t ElemBytes(Elem elem) {
  constexpr int64_t kBytes[] = {4, 2, 2, 8, 4, 1, 1, 1, 0};
  return kBytes[static_cast<int>(elem)];
}

inline const char* ElemName(Elem elem) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "i64",   "i32",
                                    "i8",  "u8",  "bool", "packed"};
  return kNames[static_cast<int>(elem)];
}

}  // namespace smelt
