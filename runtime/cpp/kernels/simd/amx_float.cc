// Prefill in floats on AMX, which multiplies bf16. An f32 is the sum of three bf16 to its last bit
// (an f16 of two), and products of bf16 are exact in f32; so six products (all but those below
// 2^-24 of the result) do an f32's work, at more than twice the speed of the vector units. bf16
// weights need no splitting and are read from the file as they lie.
#include <immintrin.h>

#include "amx.h"
#include "amx_tiles.h"
#include "readers.h"

namespace smelt {
namespace avx512 {
namespace {

constexpr int64_t kStep = 32;  // columns of a tile
constexpr int64_t kStepBytes = kStep * kPanel * 2;

int WeightPieces(Format format) {
  return format == Format::kBf16 ? 1 : format == Format::kF16 ? 2 : 3;
}

// The next piece of x, leaving what it missed.
SMELT_INLINE Vi TakePiece(Vf& x) {
  const Vi piece = ToBf16(x);
  x = x - AsFloat(Shl<16>(piece));
  return piece;
}

// Pairs of columns to [piece][C up to 32 / 2][16][2].
template <typename Reader>
void Split(const PackedMatrix& w, int64_t panel, uint8_t* out) {
  constexpr int kCols = Reader::kCols < 2 ? 2 : Reader::kCols;
  const int pieces = WeightPieces(w.shape.format);
  const int64_t padded = w.padded_cols, plane = RoundUp(padded, kStep) * kPanel * 2;
  Reader reader;
  reader.Begin(w, panel);
  for (int64_t k = 0; k < padded; k += kCols) {
    Vf column[kCols];
    for (int c = 0; c < kCols; c += Reader::kCols) {
      if (k + c < padded)
        reader.Next(column + c);
      else
        column[c] = Zero();  // only where columns come one by one
    }
    for (int c = 0; c < kCols; c += 2) {
      uint8_t* to = out + (k + c) * kPanel * 2;
      for (int i = 0; i < pieces; ++i, to += plane) {
        const Vi even = TakePiece(column[c]), odd = TakePiece(column[c + 1]);
        StoreI(reinterpret_cast<int32_t*>(to), even + Shl<16>(odd));
      }
    }
  }
  const int64_t done = RoundUp(padded, 2) * kPanel * 2;
  for (int i = 0; i < pieces; ++i)
    memset(out + i * plane + done, 0, static_cast<size_t>(plane - done));
}

template <Format kFormat>
void SplitCodes(const PackedMatrix& w, int64_t panel, uint8_t* out) {
  if (w.zeros != nullptr) return Split<ReadCodes<kFormat, true>>(w, panel, out);
  Split<ReadCodes<kFormat, false>>(w, panel, out);
}

struct Operands {
  const uint8_t* x[2];  // two tiles of 16 rows, [piece][16 of 32][C up to 32] bf16
  int64_t x_plane, x_stride;
  const uint8_t* w[2];  // two panels, [piece][C/2][16][2]
  int64_t w_plane;
};

// All products of a step of 32 columns, kRows x kPanels tiles of sums: each operand that is loaded
// serves two of them, and four sums in turn hide the latency. Pieces i of x and j of w matter while
// i + j < 3.
template <int kRows, int kPanels, int kIn, int kWeight, int kFirst = 0>
SMELT_INLINE void Products(const Operands& p, int64_t k) {
  constexpr int j = kFirst;
  LoadTile<6>(p.w[0] + j * p.w_plane + k * kPanel * 2, 64);
  if constexpr (kPanels == 2) LoadTile<7>(p.w[1] + j * p.w_plane + k * kPanel * 2, 64);
  const auto multiply = [&](int64_t i) __attribute__((always_inline)) {
    LoadTile<4>(p.x[0] + i * p.x_plane + k * 2, p.x_stride);
    if constexpr (kRows == 2) LoadTile<5>(p.x[1] + i * p.x_plane + k * 2, p.x_stride);
    MultiplyBf16<0, 4, 6>();
    if constexpr (kRows == 2) MultiplyBf16<1, 5, 6>();
    if constexpr (kPanels == 2) MultiplyBf16<2, 4, 7>();
    if constexpr (kPanels == 2 && kRows == 2) MultiplyBf16<3, 5, 7>();
  };
  multiply(0);
  if constexpr (kIn > 1 && j < 2) multiply(1);
  if constexpr (kIn > 2 && j < 1) multiply(2);
  if constexpr (j + 1 < kWeight) Products<kRows, kPanels, kIn, kWeight, kFirst + 1>(p, k);
}

// out[panel][kAmxPair][16].
template <int kRows, int kPanels, int kIn, int kWeight>
void Run(const Operands& p, int64_t padded, float* out) {
  ZeroTile<0>();
  ZeroTile<1>();
  ZeroTile<2>();
  ZeroTile<3>();
  int64_t k = 0;
  for (; k + kStep <= padded; k += kStep) Products<kRows, kPanels, kIn, kWeight>(p, k);
  if (k <
      padded) {  // only weights that lie as in the file, in one piece, end in the middle of a step
    alignas(64) uint8_t last[2][kStepBytes] = {};
    Operands rest = p;
    for (int i = 0; i < kPanels; ++i) {
      memcpy(last[i], p.w[i] + k * kPanel * 2, static_cast<size_t>(padded - k) * kPanel * 2);
      rest.w[i] = last[i];
    }
    for (int i = 0; i < kRows; ++i) rest.x[i] += k * 2;
    Products<kRows, kPanels, kIn, 1>(rest, 0);
  }
  StoreTile<0>(out);
  if constexpr (kRows == 2) StoreTile<1>(out + kAmxRows * kPanel);
  if constexpr (kPanels == 2) StoreTile<2>(out + kAmxPair * kPanel);
  if constexpr (kPanels == 2 && kRows == 2) StoreTile<3>(out + (kAmxPair + kAmxRows) * kPanel);
}

template <int kIn, int kWeight>
void RunShape(const Operands& p, int rows, int panels, int64_t padded, float* out) {
  if (rows == 2)
    return panels == 2 ? Run<2, 2, kIn, kWeight>(p, padded, out)
                       : Run<2, 1, kIn, kWeight>(p, padded, out);
  panels == 2 ? Run<1, 2, kIn, kWeight>(p, padded, out) : Run<1, 1, kIn, kWeight>(p, padded, out);
}

}  // namespace

int64_t SplitBytes(Format format, int64_t padded_cols) {
  const int pieces = WeightPieces(format);
  return pieces == 1 ? 0 : pieces * RoundUp(padded_cols, kStep) * kPanel * 2;
}

void SplitPanel(const PackedMatrix& w, int64_t panel, uint8_t* out) {
  switch (w.shape.format) {
    case Format::kF32:
      return Split<ReadF32>(w, panel, out);
    case Format::kF16:
      return Split<ReadF16>(w, panel, out);
    case Format::kBf16:
      return;
    case Format::kInt8:
      return SplitCodes<Format::kInt8>(w, panel, out);
    case Format::kInt4:
      return SplitCodes<Format::kInt4>(w, panel, out);
  }
}

void SplitTile(const TileInput& in) {
  const int pieces = in.input == Input::kF32 ? 3 : 1;
  const int64_t cols = in.w->shape.cols, stride = RoundUp(in.w->padded_cols, kStep),
                plane = stride * kAmxPair;
  for (int r = 0; r < in.count; ++r) {
    uint16_t* row = static_cast<uint16_t*>(in.tile) + r * stride;
    for (int64_t k = 0; k < stride; k += 16) {
      Vf x = k < cols ? LoadN(in.x[r] + k, cols - k) : Zero();
      for (int i = 0; i < pieces; ++i) StoreU16(row + i * plane + k, TakePiece(x));
    }
  }
}

void AmxLinearFloat(const TileCall& call) {
  if (call.height < kAmxRows) return LinearFloat(call);
  const int64_t padded = call.w->padded_cols, up = RoundUp(padded, kStep),
                split = SplitBytes(call.w->shape.format, padded);
  const int64_t panel_bytes = split > 0 ? split : padded * kPanel * 2;
  const int pieces = WeightPieces(call.w->shape.format), rows = call.count > kAmxRows ? 2 : 1;
  Operands p = {};
  p.x[0] = static_cast<const uint8_t*>(call.tile);
  p.x[1] = p.x[0] + up * 2 * kAmxRows;
  p.x_plane = up * 2 * kAmxPair;
  p.x_stride = up * 2;
  p.w_plane = up * kPanel * 2;
  alignas(64) float acc[2][2 * kAmxPair * kPanel];
  for (int64_t panel = call.panel_first; panel < call.panel_last;) {
    const int panels = panel + 2 <= call.panel_last ? 2 : 1;
    const auto run = [&](const PackedMatrix& w, const uint8_t* unpacked, float* out) {
      p.w[0] =
          split > 0 ? unpacked + (panel - call.panel_first) * split : w.codes + panel * panel_bytes;
      p.w[1] = p.w[0] + panel_bytes;
      if (pieces == 3) return RunShape<3, 3>(p, rows, panels, up, out);
      if (pieces == 2) return RunShape<3, 2>(p, rows, panels, up, out);
      if (call.input == Input::kF32) return RunShape<3, 1>(p, rows, panels, padded, out);
      RunShape<1, 1>(p, rows, panels, padded, out);
    };
    run(*call.w, call.weights, acc[0]);
    if (call.w2 != nullptr) run(*call.w2, call.weights2, acc[1]);
    for (int i = 0; i < panels; ++i, ++panel) {
      const int at = i * kAmxPair * kPanel;
      StorePanel(call, panel, acc[0] + at, call.w2 != nullptr ? acc[1] + at : nullptr);
    }
  }
}

}  // namespace avx512
}  // namespace smelt
