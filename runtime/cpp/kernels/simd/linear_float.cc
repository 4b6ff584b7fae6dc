// Linear with f32 inputs (maybe rounded to bf16) over every weight format, widened exactly.
#include "linear.h"
#include "readers.h"

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

// kRows rows of a tile (kHeight apart by 4 bytes a column) x kPanels panels. With few sums in
// flight, several accumulators for each hide the latency of the multiply-add.
template <typename Reader, int kRows, int kPanels, int kHeight>
void PanelsFloat(const PackedMatrix& w, int64_t panel, const TileCall& call, int row, float* out) {
  constexpr int kCols = Reader::kCols, kUnroll = kRows == 1 ? 8 : 4,
                kBlocks = kCols < kUnroll ? kUnroll / kCols : 1;
  constexpr int kSums =
      kRows == 1 ? kBlocks * kCols
                 : 1;  // not of kPanels or kRows: tasks may cut panels and rows differently
  const float* x = static_cast<const float*>(call.tile) + row;
  Reader reader[kPanels];
  Vf sum[kSums][kPanels][kRows];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
    reader[p].Begin(w, panel + p);
#pragma GCC unroll 8
    for (int s = 0; s < kSums; ++s) {
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) sum[s][p][r] = Zero();
    }
  }
  const auto step = [&](int first) __attribute__((always_inline)) {
    Vf column[kPanels][kCols];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) reader[p].Next(column[p]);
#pragma GCC unroll kColumnUnroll
    for (int c = 0; c < kCols; ++c, x += kHeight) {
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        const Vf in = Set1(x[r]);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) {
          Vf& s = sum[(first + c) % kSums][p][r];
          s = Fma(column[p][c], in, s);
        }
      }
    }
  };
  int64_t k = 0;
  for (; k + kCols * kBlocks <= w.padded_cols; k += kCols * kBlocks) {
#pragma GCC unroll kColumnUnroll
    for (int b = 0; b < kBlocks; ++b) step(b * kCols);
  }
  for (; k < w.padded_cols; k += kCols) step(0);
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      Vf total = sum[0][p][r];
#pragma GCC unroll 8
      for (int s = 1; s < kSums; ++s) total = total + sum[s][p][r];
      Store(out + (p * kTileRows + r) * kPanel, total);
    }
  }
}

template <typename Reader>
void RunFloat(const TileCall& call) {
  constexpr PanelKernel kRow = PanelsFloat<Reader, 1, 1, 1>;
  if (call.height == 1) return ForPanels(call, {1, 1, kRow, kRow, kRow, kRow, 1});
  constexpr PanelKernel kNarrow = PanelsFloat<Reader, 4, 1, kTileRows>;
  if constexpr (kFloatPanels == 1)
    return ForPanels(call, {1, 4, kNarrow, kNarrow, kNarrow, kNarrow, 4});
  // Widened codes take registers, so their pairs of panels have fewer rows.
  constexpr int kRows = Reader::kCols >= 4 ? kFloatRows / 2 : kFloatRows;
  constexpr PanelKernel kMiddle =
      kRows > 8 ? PanelsFloat<Reader, 8, kFloatPanels, kTileRows> : nullptr;
  ForPanels(call, {kFloatPanels, kRows, PanelsFloat<Reader, kRows, kFloatPanels, kTileRows>,
                   PanelsFloat<Reader, 4, kFloatPanels, kTileRows>,
                   PanelsFloat<Reader, kTileRows, 1, kTileRows>, kNarrow, kTileRows, kMiddle,
                   PanelsFloat<Reader, 8, 1, kTileRows>});
}

template <Format kFormat>
void RunCodes(const TileCall& call) {
  if (call.w->zeros != nullptr) return RunFloat<ReadCodes<kFormat, true>>(call);
  RunFloat<ReadCodes<kFormat, false>>(call);
}

}  // namespace

void StorePanel(const TileCall& call, int64_t panel, const float* acc, const float* acc2) {
  const int64_t first = panel * kPanel, n = call.w->shape.rows - first;
  const Vf bias = call.bias != nullptr ? LoadN(call.bias + first, n) : Zero();
  const Vf bias2 = acc2 != nullptr && call.bias2 != nullptr ? LoadN(call.bias2 + first, n) : Zero();
  for (int r = 0; r < call.count; ++r) {
    Vf y = Act(call.act, Load(acc + r * kPanel) + bias);
    if (acc2 != nullptr) y = y * (Load(acc2 + r * kPanel) + bias2);
    if (call.residual != nullptr) y = y + LoadN(call.residual[r] + first, n);
    StoreN(call.y[r] + first, y, n);
  }
}

void PackTile(const TileInput& in) {
  if (IsInt(in.input)) return QuantizeTile(in);
  const int64_t cols = in.w->shape.cols, padded = in.w->padded_cols;
  const bool round = in.input == Input::kBf16;
  const auto part = [&](int r, int64_t k) {
    const Vf x = r < in.count && k < cols ? LoadN(in.x[r] + k, cols - k) : Zero();
    return round ? AsFloat(Shl<16>(ToBf16(x))) : x;
  };
  float* tile = static_cast<float*>(in.tile);
  for (int64_t k = 0; k < padded; k += 16) {
    if (in.height == 1) {
      StoreN(tile + k, part(0, k), padded - k);
      continue;
    }
    for (int r = 0; r < kTileRows; r += 4) {
      const Vf rows[4] = {part(r, k), part(r + 1, k), part(r + 2, k), part(r + 3, k)};
      StoreColumnsN(rows, tile + k * kTileRows + r, kTileRows, padded - k);
    }
  }
}

int TileHeight(Format, Input, int64_t rows) { return rows == 1 ? 1 : kTileRows; }
int64_t UnpackBytes(const PackedShape&, int64_t, Input, int) { return 0; }
void Unpack(const PackedMatrix&, Input, int64_t, void*) {}
void Enter(const PackedMatrix&, Input, int) {}
void Leave(int) {}

void LinearFloat(const TileCall& call) {
  switch (call.w->shape.format) {
    case Format::kF32:
      return RunFloat<ReadF32>(call);
    case Format::kF16:
      return RunFloat<ReadF16>(call);
    case Format::kBf16:
      return RunFloat<ReadBf16>(call);
    case Format::kInt8:
      return RunCodes<Format::kInt8>(call);
    case Format::kInt4:
      return RunCodes<Format::kInt4>(call);
  }
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
