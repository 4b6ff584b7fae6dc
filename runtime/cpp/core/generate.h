// Greedy generation for causal language models, with everything allocated beforehand.
#pragma once

#include <vector>

#include "core/session.h"

namespace smelt {

class Generator {
 public:
  // Finds the ports of "main"; kUnsupported when the model is not a causal language model.
  static Result<Generator> Make(Session* session);
  // See smelt_generate.
  Status Run(const int64_t* tokens, size_t count, size_t most, int (*on_token)(void*, int64_t),
             void* context);

 private:
  Status Feed(const int64_t* tokens, int64_t count, int64_t* next);

  Session* session_ = nullptr;
  uint32_t function_ = 0, ids_ = kNone, mask_ = kNone, positions_ = kNone, logits_ = kNone,
           inputs_ = 0;
  std::vector<int64_t> mask_values_, position_values_, eos_;
};

}  // namespace smelt
