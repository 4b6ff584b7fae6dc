#include "core/model.h"

#include <cstring>

#include "core/check.h"
#include "core/checked.h"
#include "core/crc32.h"

namespace smelt {
namespace {

constexpr const char* kFeatures[] = {"core.2", "last.1"};

uint32_t HeaderCrc(const uint8_t* bytes) {
  FileHeader header;
  std::memcpy(&header, bytes, sizeof header);
  header.crc = 0;
  const uint32_t crc = Crc32(0, &header, sizeof header);
  return Crc32(crc, bytes + sizeof header, kSegments * sizeof(SegmentRecord));
}

}  // namespace

bool HasFeature(const char* name) {
  for (const char* known : kFeatures) {
    if (std::strcmp(name, known) == 0) return true;
  }
  return false;
}

Result<Model::Pointer> Model::Open(const char* path) {
  Result<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return std::move(file.status());
  auto model = std::make_shared<Model>();
  model->file_.emplace(std::move(*file));
  Status status = model->Load(model->file_->data(), model->file_->bytes());
  if (!status.ok()) return std::move(status).In("%s", path);
  return Pointer(std::move(model));
}

Result<Model::Pointer> Model::Borrow(const void* bytes, size_t size) {
  auto model = std::make_shared<Model>();
  Status status = model->Load(static_cast<const uint8_t*>(bytes), size);
  if (!status.ok()) return status;
  return Pointer(std::move(model));
}

Status Model::Load(const uint8_t* bytes, size_t size) {
  constexpr size_t kHead = sizeof(FileHeader) + kSegments * sizeof(SegmentRecord);
  if (reinterpret_cast<uintptr_t>(bytes) % kAlign) {
    return Error(Code::kInvalidArgument, "the model's memory is not 64-byte aligned");
  }
  if (size >= sizeof(FileHeader) && std::memcmp(bytes, kMagic, sizeof kMagic) != 0) {
    return Error(Code::kBadFile, "not a smelt file: the first bytes are not its magic number");
  }
  if (size < kHead)
    return Error(Code::kBadFile, "the file has %zu bytes, its head alone %zu", size, kHead);
  const auto& header = *reinterpret_cast<const FileHeader*>(bytes);
  if (header.version != kVersion) {
    return Error(Code::kUnsupported, "the file has format version %u, this runtime reads %u",
                 header.version, kVersion);
  }
  if (header.segments != kSegments) {
    return Error(Code::kBadFile, "the file has %u segments, wants %u", header.segments, kSegments);
  }
  if (header.file_bytes != size) {
    return Error(Code::kBadFile, "the file has %zu bytes, its header says %llu", size,
                 static_cast<unsigned long long>(header.file_bytes));
  }
  if (HeaderCrc(bytes) != header.crc) {
    return Error(Code::kBadFile, "the header's checksum does not fit: the file is damaged");
  }
  bytes_ = bytes;
  size_ = size;
  segments_ = reinterpret_cast<const SegmentRecord*>(bytes + sizeof(FileHeader));
  return CheckModel(this);
}

Status Model::VerifyChecksums() const {
  for (const WeightRecord& weight : weights) {
    if (Crc32(0, WeightData(weight), weight.bytes) != weight.crc) {
      return Error(Code::kBadFile, "weight `%s` is damaged: its checksum does not fit",
                   Text(weight.name));
    }
  }
  for (const FileRecord& file : files) {
    if (Crc32(0, FileData(file), file.bytes) != file.crc) {
      return Error(Code::kBadFile, "file `%s` is damaged: its checksum does not fit", file.name);
    }
  }
  for (uint32_t i = 0; i < kSegments; ++i) {
    if (Crc32(0, bytes_ + segments_[i].offset, segments_[i].bytes) != segments_[i].crc) {
      return Error(Code::kBadFile, "segment %u is damaged: its checksum does not fit", i);
    }
  }
  return Status();
}

uint32_t Model::FindFunction(const char* name) const {
  for (uint32_t i = 0; i < functions.count; ++i) {
    if (std::strcmp(Text(functions[i].name), name) == 0) return i;
  }
  return kNone;
}

uint32_t Model::FindSymbol(const char* name) const {
  for (uint32_t i = 0; i < symbols.count; ++i) {
    if (std::strcmp(Text(symbols[i].name), name) == 0) return i;
  }
  return kNone;
}

const FileRecord* Model::FindFile(const char* name) const {
  for (const FileRecord& file : files) {
    if (std::strcmp(file.name, name) == 0) return &file;
  }
  return nullptr;
}

int64_t Model::Setting(const char* key, int64_t missing) const {
  for (const SettingRecord& setting : settings) {
    if (std::strcmp(Text(setting.key), key) == 0) return setting.value;
  }
  return missing;
}

}  // namespace smelt
