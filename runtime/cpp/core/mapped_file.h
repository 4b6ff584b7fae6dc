// A whole file mapped read-only; the bytes stay valid while the object lives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"

namespace smelt {

class MappedFile {
 public:
  static Result<MappedFile> Open(const char* path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  MappedFile() = default;
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace smelt
