// The decoder of tests/seeds, run by the tests of the core.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "core/session.h"

namespace smelt::testing {

inline const char*& SeedFolder() {
  static const char* folder = "";
  return folder;
}

// A file's bytes in 64-byte aligned memory, so that they can be changed and opened.
class Bytes {
 public:
  explicit Bytes(size_t size) : size_(size) {
    if (::posix_memalign(&data_, 64, size + 64) != 0) std::abort();
  }
  Bytes(const Bytes& other) : Bytes(other.size_) { std::memcpy(data_, other.data_, size_); }
  ~Bytes() { std::free(data_); }
  uint8_t* data() { return static_cast<uint8_t*>(data_); }
  size_t size() const { return size_; }
  static Bytes Read(const char* name);

 private:
  void* data_ = nullptr;
  size_t size_;
};

Model::Pointer OpenSeed(const char* name = "decoder.smelt");

// One call of the decoder's `main` for rows × tokens ids; `mask` all ones.
struct Fed {
  std::vector<int64_t> ids, mask, positions;
  Status status;
  std::vector<float> logits;  // of the last token of each row
  size_t allocations = 0;     // while the call ran
};
Fed Feed(Session* session, const std::vector<int64_t>& ids, int64_t rows = 1);

}  // namespace smelt::testing
