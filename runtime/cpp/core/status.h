// Errors as values: a code and one message. Success costs a null pointer and allocates nothing.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace smelt {

enum class Code : int {
  kOk = 0,
  kInvalidArgument = 1,  // the caller's fault: shapes, names, limits
  kBadFile = 2,          // the file is damaged or hostile
  kUnsupported = 3,      // the file needs what this runtime lacks
  kOutOfMemory = 4,
  kIo = 5,
  kState = 6,       // not possible in the session's present state
  kOutOfRange = 7,  // data-dependent: an index outside its axis
  kCancelled = 8,
  kBusy = 9,  // a queue is full
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Status&& other) noexcept : detail_(std::exchange(other.detail_, nullptr)) {}
  Status& operator=(Status&& other) noexcept {
    std::swap(detail_, other.detail_);
    return *this;
  }
  ~Status();

  bool ok() const { return detail_ == nullptr; }
  Code code() const;
  const char* message() const;  // "" when ok

  // The same error with "place: " before its message.
  Status In(const char* format, ...) && __attribute__((format(printf, 2, 3)));

 private:
  struct Detail;
  friend Status Error(Code code, const char* format, ...);
  Detail* detail_ = nullptr;
};

Status Error(Code code, const char* format, ...) __attribute__((format(printf, 2, 3)));
// An error where a struct of the caller's has another size than ours: another version of smelt.h.
Status CheckSize(const char* name, uint32_t given, size_t ours);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT: results are returned as values
  Result(Status status) : status_(std::move(status)) {}  // NOLINT
  bool ok() const { return value_.has_value(); }
  T& operator*() { return *value_; }
  T* operator->() { return &*value_; }
  Status& status() { return status_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace smelt

#define SMELT_TRY(expression)                                         \
  do {                                                                \
    ::smelt::Status smelt_status = (expression);                      \
    if (__builtin_expect(!smelt_status.ok(), 0)) return smelt_status; \
  } while (0)
