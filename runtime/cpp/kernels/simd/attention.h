// Attention over one block of queries or one chunk of keys.
#pragma once

#include "../isa.h"
#include "simd.h"

namespace smelt {
namespace SMELT_ISA_NS {

void AttendBlock(const AttentionBlock& block);
void AttendChunk(const AttentionBlock& block);
void MergeChunks(const AttentionBlock& block, int64_t chunks, int64_t partial_stride);

}  // namespace SMELT_ISA_NS
}  // namespace smelt
