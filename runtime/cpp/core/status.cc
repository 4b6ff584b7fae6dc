#include "core/status.h"

#include <cstdio>
#include <cstdlib>
#include <new>

namespace smelt {

struct Status::Detail {
  Code code;
  char message[500];
};

namespace {
constexpr char kNoMemory[] = "out of memory";
}

Status::~Status() { delete detail_; }

Code Status::code() const { return detail_ ? detail_->code : Code::kOk; }

const char* Status::message() const { return detail_ ? detail_->message : ""; }

Status Status::In(const char* format, ...) && {
  if (!detail_) return Status();
  char text[sizeof(detail_->message)];
  va_list args;
  va_start(args, format);
  int used = std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (used < 0 || used >= static_cast<int>(sizeof text)) used = static_cast<int>(sizeof text) - 1;
  const size_t left = sizeof text - static_cast<size_t>(used);
  std::snprintf(text + used, left, ": %.*s", static_cast<int>(left), detail_->message);
  std::snprintf(detail_->message, sizeof detail_->message, "%s", text);
  return std::move(*this);
}

Status Error(Code code, const char* format, ...) {
  Status status;
  status.detail_ = new (std::nothrow) Status::Detail;
  if (!status.detail_) std::abort();  // 500 bytes are not to be had: nothing can be reported
  status.detail_->code = code;
  va_list args;
  va_start(args, format);
  if (std::vsnprintf(status.detail_->message, sizeof status.detail_->message, format, args) < 0) {
    std::snprintf(status.detail_->message, sizeof status.detail_->message, "%s", kNoMemory);
  }
  va_end(args);
  return status;
}

Status CheckSize(const char* name, uint32_t given, size_t ours) {
  if (given == ours) return Status();
  return Error(Code::kInvalidArgument, "%s has %u bytes, here %zu: another version of smelt.h",
               name, given, ours);
}

}  // namespace smelt
