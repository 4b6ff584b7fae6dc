// Logits processors in their fixed order; those of runtime/processors.py.
#pragma once

#include "generation/history.h"
#include "generation/settings.h"
#include "generation/workspace.h"

namespace smelt::generation {

// Runs the processors that are on over a row's logits, in place. The last token before the row runs
// out of room is token `most` - 1.
void Process(const Settings& settings, const History& history, size_t most, float* logits,
             int64_t vocabulary, Workspace* work);

}  // namespace smelt::generation
