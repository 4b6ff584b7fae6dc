// What AMX does instead of AVX-512: linear, from a few rows on.
#pragma once

#include "../isa.h"

namespace smelt {
namespace avx512 {

int AmxHeight(Format format, Input input, int64_t rows);
int64_t AmxUnpackBytes(const PackedShape& w, int64_t padded_cols, Input input, int height);
void AmxUnpack(const PackedMatrix& w, Input input, int64_t panel, void* out);
void AmxEnter(const PackedMatrix& w, Input input, int height);
void AmxLeave(int height);
void AmxPackTile(const TileInput& in);
void AmxLinearFloat(const TileCall& call);
void AmxLinearInt(const TileCall& call);

// Floats as sums of bf16 (amx_float.cc).
int64_t SplitBytes(Format format, int64_t padded_cols);  // of a panel; 0: it is bf16 already
void SplitPanel(const PackedMatrix& w, int64_t panel, uint8_t* out);
void SplitTile(const TileInput& in);

}  // namespace avx512
}  // namespace smelt
