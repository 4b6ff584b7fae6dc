// A model.smelt, opened: its tables in place, every offset and index checked once.
//
// After Open succeeds, all of these hold: every index in a record points into its table, every
// string is terminated, every weight lies inside the file with exactly the bytes that its shape
// needs, every instruction has the operands and attributes of its opcode, every function's symbols
// are bound. Sizes that depend on symbols are checked when a session is opened and when symbols
// change.
#pragma once

#include <memory>
#include <vector>

#include "core/format.h"
#include "core/mapped_file.h"
#include "core/status.h"

namespace smelt {

template <typename T>
struct Table {
  const T* data = nullptr;
  uint32_t count = 0;
  const T& operator[](uint32_t i) const { return data[i]; }
  const T* begin() const { return data; }
  const T* end() const { return data + count; }
};

class Model {
 public:
  using Pointer = std::shared_ptr<const Model>;
  static Result<Pointer> Open(const char* path);
  // The bytes must be 64-byte aligned and outlive the model.
  static Result<Pointer> Borrow(const void* bytes, size_t size);

  // Reads the whole file and compares every checksum; names the weight or segment that is damaged.
  Status VerifyChecksums() const;

  Table<FeatureRecord> features;
  Table<SettingRecord> settings;
  Table<SymbolRecord> symbols;
  Table<DimRecord> dims;
  Table<SlotRecord> slots;
  Table<BufferRecord> buffers;
  Table<uint32_t> below;
  Table<TensorRecord> tensors;
  Table<uint32_t> operands;
  Table<uint32_t> attributes;
  Table<InstructionRecord> instructions;
  Table<PortRecord> ports;
  Table<BindRecord> binds;
  Table<FunctionRecord> functions;
  Table<WeightRecord> weights;
  Table<FileRecord> files;
  std::vector<uint64_t> dim_symbols;  // for each dim node, the symbols inside, one bit each

  const char* Text(StringRef ref) const { return strings_ + ref.offset; }
  const uint8_t* WeightData(const WeightRecord& weight) const {
    return weight_data_ + weight.offset;
  }
  const uint8_t* FileData(const FileRecord& file) const { return file_data_ + file.offset; }
  // The index of a function or symbol by name; kNone when there is none.
  uint32_t FindFunction(const char* name) const;
  uint32_t FindSymbol(const char* name) const;
  const FileRecord* FindFile(const char* name) const;
  // The first setting of that key, or `missing`.
  int64_t Setting(const char* key, int64_t missing) const;
  int64_t weight_bytes() const {
    return static_cast<int64_t>(segments_[SegmentIndex(Segment::kWeightData)].bytes);
  }

 private:
  static constexpr uint32_t SegmentIndex(Segment s) { return static_cast<uint32_t>(s); }
  friend class Checker;
  friend class SavedState;
  Status Load(const uint8_t* bytes, size_t size);

  std::optional<MappedFile> file_;
  const uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
  const SegmentRecord* segments_ = nullptr;
  const char* strings_ = nullptr;
  const uint8_t* weight_data_ = nullptr;
  const uint8_t* file_data_ = nullptr;
};

// Whether this runtime has a feature that a file may require.
bool HasFeature(const char* name);

}  // namespace smelt
