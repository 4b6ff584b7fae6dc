// The ports of a causal language model's "main": who drives it, one row or many, fills these.
#pragma once

#include "core/session.h"

namespace smelt::generation {

struct Ports {
  uint32_t function = 0, inputs = 0;
  uint32_t ids = kNone, mask = kNone, positions = kNone, logits = kNone;

  // kUnsupported when the model is not a causal language model.
  static Result<Ports> Find(const Model& model);
  // After a call: the logits of row b's last token lie at *logits + b * *stride.
  Status LastLogits(const Session& session, int64_t rows, float** logits, int64_t* stride) const;
};

}  // namespace smelt::generation
