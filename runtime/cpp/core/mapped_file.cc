#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace smelt {

Result<MappedFile> MappedFile::Open(const char* path) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return Error(Code::kIo, "%s: %s", path, std::strerror(errno));
  struct stat info;
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file);
    return Error(Code::kIo, "%s: not a plain file", path);
  }
  if (info.st_size <= 0) {
    ::close(file);
    return Error(Code::kBadFile, "%s: the file is empty", path);
  }
  const size_t bytes = static_cast<size_t>(info.st_size);
  void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  const int reason = errno;
  ::close(file);
  if (data == MAP_FAILED) return Error(Code::kIo, "%s: %s", path, std::strerror(reason));
  MappedFile mapped;
  mapped.data_ = static_cast<uint8_t*>(data);
  mapped.bytes_ = bytes;
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, bytes_);
}

}  // namespace smelt
