// What the files of the C API share: the last error of a thread, and what handles hold.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "core/session.h"
#include "generation/generator.h"
#include "smelt/smelt.h"
#include "text/tokenizer.h"

struct smelt_model {
  smelt::Model::Pointer model;
};

struct smelt_tokenizer {
  smelt::Model::Pointer model;  // the tables lie in its file
  smelt::text::Tokenizer tokenizer;
};

struct smelt_session {
  std::unique_ptr<smelt::Session> session;
  std::optional<smelt::generation::Generator> generator;
  std::atomic<bool> cancelled{false};
  smelt_profile profile = nullptr;
  void* profile_context = nullptr;
};

namespace smelt {

// Keeps the message for smelt_error() and gives the code back.
smelt_code Fail(const Status& status);
inline smelt_code Done(const Status& status) { return status.ok() ? SMELT_OK : Fail(status); }

}  // namespace smelt
