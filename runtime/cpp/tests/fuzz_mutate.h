// Damage to a model file that looks like a file: see fuzz.cc.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/crc32.h"
#include "core/format.h"

namespace smelt::fuzz {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t Next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t end) { return Next() % end; }

  // Values of an input: mostly small, so that indices stay in range.
  void Fill(Elem elem, uint8_t* out, int64_t bytes) {
    const bool wild = Below(16) == 0;
    for (int64_t i = 0; i < bytes; ++i) out[i] = wild ? static_cast<uint8_t>(Next()) : 0;
    if (wild) return;
    if (elem == Elem::kF32) {
      for (int64_t i = 0; i + 4 <= bytes; i += 4) {
        const float value = static_cast<float>(Below(64)) / 16 - 2;
        std::memcpy(out + i, &value, 4);
      }
      return;
    }
    const int64_t size = ElemBytes(elem);
    for (int64_t i = 0; i + size <= bytes; i += size) out[i] = static_cast<uint8_t>(Below(2));
  }

 private:
  uint64_t state_;
};

constexpr size_t kHead = sizeof(FileHeader) + kSegments * sizeof(SegmentRecord);

inline size_t RecordBytes(uint32_t segment) {
  switch (static_cast<Segment>(segment)) {
    case Segment::kFeatures:
      return sizeof(FeatureRecord);
    case Segment::kSettings:
      return sizeof(SettingRecord);
    case Segment::kSymbols:
      return sizeof(SymbolRecord);
    case Segment::kDims:
      return sizeof(DimRecord);
    case Segment::kSlots:
      return sizeof(SlotRecord);
    case Segment::kBuffers:
      return sizeof(BufferRecord);
    case Segment::kTensors:
      return sizeof(TensorRecord);
    case Segment::kInstructions:
      return sizeof(InstructionRecord);
    case Segment::kPorts:
      return sizeof(PortRecord);
    case Segment::kBinds:
      return sizeof(BindRecord);
    case Segment::kFunctions:
      return sizeof(FunctionRecord);
    case Segment::kWeights:
      return sizeof(WeightRecord);
    case Segment::kFiles:
      return sizeof(FileRecord);
    case Segment::kBelow:
    case Segment::kOperands:
    case Segment::kAttributes:
      return 4;
    default:
      return 1;
  }
}

inline uint64_t Interesting(Random* random, uint64_t old) {
  switch (random->Below(8)) {
    case 0:
      return old + 1;
    case 1:
      return old - 1;
    case 2:
      return random->Below(8);
    case 3:
      return uint64_t{1} << random->Below(64);
    case 4:
      return ~uint64_t{0} >> random->Below(64);
    case 5:
      return old ^ (uint64_t{1} << random->Below(64));
    case 6:
      return random->Below(256);
    default:
      return random->Next();
  }
}

// One field of `width` bytes becomes another value.
inline void ChangeField(uint8_t* at, size_t width, Random* random) {
  uint64_t value = 0;
  std::memcpy(&value, at, width);
  value = Interesting(random, value);
  std::memcpy(at, &value, width);
}

// A record of a table: a field of it changes, or it becomes a copy of another one.
inline void ChangeRecord(std::vector<uint8_t>* file, Random* random) {
  SegmentRecord segment;
  uint32_t index;
  do {  // tables rather than weights, where most bytes are
    index = static_cast<uint32_t>(
        random->Below(random->Below(16) ? static_cast<uint32_t>(Segment::kWeightData) : kSegments));
    std::memcpy(&segment, file->data() + sizeof(FileHeader) + index * sizeof segment,
                sizeof segment);
  } while (segment.bytes == 0 || segment.offset > file->size() ||
           segment.bytes > file->size() - segment.offset);
  const size_t width = RecordBytes(index);
  if (segment.bytes < width) return;
  const size_t count = segment.bytes / width;
  uint8_t* table = file->data() + segment.offset;
  uint8_t* record = table + random->Below(count) * width;
  if (random->Below(4) == 0) {
    std::memcpy(
        record,
        std::vector<uint8_t>(table + random->Below(count) * width, table + count * width).data(),
        width);
    return;
  }
  size_t field = width < 4 || random->Below(3) == 0 ? 1 : width < 8 || random->Below(2) ? 4 : 8;
  ChangeField(record + random->Below(width / field) * field, field, random);
}

// The file longer or shorter in one segment, with everything behind it moved.
inline void Resize(std::vector<uint8_t>* file, Random* random) {
  std::vector<SegmentRecord> segments(kSegments);
  std::memcpy(segments.data(), file->data() + sizeof(FileHeader),
              kSegments * sizeof(SegmentRecord));
  const uint32_t chosen = static_cast<uint32_t>(random->Below(kSegments));
  std::vector<uint8_t> out(file->begin(), file->begin() + kHead);
  for (uint32_t i = 0; i < kSegments; ++i) {
    if (segments[i].offset > file->size() || segments[i].bytes > file->size() - segments[i].offset)
      return;
    std::vector<uint8_t> data(
        file->begin() + static_cast<ptrdiff_t>(segments[i].offset),
        file->begin() + static_cast<ptrdiff_t>(segments[i].offset + segments[i].bytes));
    if (i == chosen) {
      const size_t step = RecordBytes(i) * (1 + random->Below(3));
      data.resize(random->Below(2) ? data.size() + step
                                   : data.size() - std::min(data.size(), step));
    }
    out.resize((out.size() + 63) / 64 * 64);
    segments[i].offset = out.size();
    segments[i].bytes = data.size();
    out.insert(out.end(), data.begin(), data.end());
  }
  std::memcpy(out.data() + sizeof(FileHeader), segments.data(), kSegments * sizeof(SegmentRecord));
  *file = out;
}

inline void Mutate(std::vector<uint8_t>* file, Random* random) {
  if (random->Below(32) == 0) Resize(file, random);
  const uint64_t changes = 1 + random->Below(random->Below(4) ? 2 : 8);
  for (uint64_t i = 0; i < changes; ++i) ChangeRecord(file, random);
  if (random->Below(64) == 0) {  // a segment's place or size
    const size_t field =
        sizeof(FileHeader) + random->Below(kSegments * sizeof(SegmentRecord) / 8) * 8;
    ChangeField(file->data() + field, 8, random);
  }
  if (random->Below(64) == 0) file->resize(random->Below(file->size() + 1));
  if (file->size() < kHead || random->Below(64) == 0) return;
  FileHeader header;
  std::memcpy(&header, file->data(), sizeof header);
  header.file_bytes = file->size();
  header.crc = 0;
  const uint32_t crc = Crc32(0, &header, sizeof header);
  header.crc = Crc32(crc, file->data() + sizeof header, kSegments * sizeof(SegmentRecord));
  std::memcpy(file->data(), &header, sizeof header);
}

}  // namespace smelt::fuzz
