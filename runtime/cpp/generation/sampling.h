// From processed logits to one token, exactly as runtime/sampling.py says.
#pragma once

#include "generation/settings.h"
#include "generation/watermark.h"
#include "generation/workspace.h"

namespace smelt::generation {

// The largest logit, and whether none is NaN (`is_number` may be null).
float Most(const float* logits, int64_t count, bool* is_number);

// The id at which the cumulative distribution of what the samplers keep exceeds `u`. At least one
// logit is above minus infinity. `mark` may be null.
int64_t Draw(const float* logits, int64_t count, const Settings& settings, double u,
             const Watermark* mark, const int64_t* tokens, size_t token_count, Workspace* work);

// Places of the `count` largest logits in falling order, ties by rising place, in work->order; how
// many there are.
uint32_t Largest(const float* logits, int64_t size, int64_t count, Workspace* work);

// log of the sum of exp(logit - max), and max, in doubles.
void LogSum(const float* logits, int64_t count, Workspace* work, double* most, double* log_sum);

}  // namespace smelt::generation
