// What AMX does instead of AVX-512: linear with int8 and bf16 inputs, from nine rows on.
#pragma once

#include "../isa.h"

namespace smelt {
namespace avx512 {

int AmxHeight(Input input, int64_t rows);
int64_t AmxUnpackBytes(const PackedShape& w, int64_t padded_cols, Input input, int height);
void AmxUnpack(const PackedMatrix& w, Input input, int64_t panel, void* out);
void AmxEnter(const PackedMatrix& w, Input input, int height);
void AmxLeave(int height);
void AmxPackTile(const TileInput& in);
void AmxLinearFloat(const TileCall& call);
void AmxLinearInt(const TileCall& call);

}  // namespace avx512
}  // namespace smelt
