// What machines with bf16 dot products (AVX512_BF16) do instead of AVX-512: linears whose weights
// and inputs are bf16, from two rows on, and prefill's attention whose inputs are.
#pragma once

#include "../isa.h"

namespace smelt {
namespace avx512 {

void Bf16PackTile(const TileInput& in);
void Bf16LinearFloat(const TileCall& call);
void Bf16AttendBlock(const AttentionBlock& block);

}  // namespace avx512
}  // namespace smelt
