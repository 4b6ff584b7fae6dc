// Prefill in floats on AMX, which multiplies bf16. An f32 is the sum of three bf16 to its last bit (an f16 of two), and
// products of bf16 are exact in f32; so six products (all but those below 2^-24 of the result) do an f32's work, at more
// than twice the speed of the vector units. bf16 weights need no splitting and are read from the file as they lie.
#include <immintrin.h>

#include "amx.h"
#include "amx_tiles.h"
#include "readers.h"

namespace smelt {
namespace avx512 {
namespace {

constexpr int64_t kStep = 32;  // columns of a tile
constexpr int64_t kStepBytes = kStep * kPanel * 2;

int WeightPieces(Format format) { return format == Format::kBf16 ? 1 : format == Format::kF16 ? 2 : 3; }

// The next piece of x, leaving what it missed.
SMELT_INLINE Vi TakePiece(Vf& x) {
  const Vi piece = ToBf16(x);
  x = x - AsFloat(Shl<16>(piece));
  return piece;
}

// Pairs of columns to [piece][C up to 32 / 2][16][2].
template <typename Reader> void Split(const PackedMatrix& w, int64_t panel, uint8_t* out) {
  constexpr int kCols = Reader::kCols < 2 ? 2 : Reader::kCols;
  const int pieces = WeightPieces(w.shape.format);
  const int64_t padded = w.padded_cols, plane = RoundUp(padded, kStep) * kPanel * 2;
  Reader reader;
  reader.Begin(w, panel);
  for (int64_t k = 0; k < padded; k += kCols) {
    Vf column[kCols];
    for (int c = 0; c < kCols; c += Reader::kCols) {
      if (k + c < padded) reader.Next(column + c);
      else column[c] = Zero();  // only where columns come one by one
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
  for (int i = 0; i < pieces; ++i) memset(out + i * plane + done, 0, static_cast<size_t>(plane - done));
}

template <Format kFormat> void SplitCodes(const PackedMatrix& w, int64_t panel, uint8_t* out) {
  if (w.zeros != nullptr) return Split<ReadCodes<kFormat, true>>(w, panel, out);
  Split<ReadCodes<kFormat, false>>(w, panel, out);
}

struct FloatPanel {
  const uint8_t* x;  // [piece][16][C up to 32] bf16
  int64_t x_plane, x_stride;
  const uint8_t* w[2];  // panels, [piece][C/2][16][2]
  int64_t w_plane;
};

// The products of one step of 32 columns. Successive products go to alternate tiles, which hides their latency.
template <int kIn, int kWeight, int kPanels, int kTurn>
SMELT_INLINE void Products(const FloatPanel& p, const uint8_t* const (&w)[2], int64_t k) {
  const uint8_t* x = p.x + k * 2;
  LoadTile<4>(x, p.x_stride);
  if constexpr (kIn == 3) {
    LoadTile<5>(x + p.x_plane, p.x_stride);
    LoadTile<6>(x + 2 * p.x_plane, p.x_stride);
  }
  LoadTile<7>(w[0], 64);
  MultiplyBf16<kTurn, 4, 7>();
  if constexpr (kIn == 3) {
    MultiplyBf16<1 - kTurn, 5, 7>();
    MultiplyBf16<kTurn, 6, 7>();
  }
  if constexpr (kPanels == 2) {
    LoadTile<7>(w[1], 64);
    MultiplyBf16<2 + kTurn, 4, 7>();
    if constexpr (kIn == 3) {
      MultiplyBf16<3 - kTurn, 5, 7>();
      MultiplyBf16<2 + kTurn, 6, 7>();
    }
  }
  if constexpr (kWeight >= 2) {
    LoadTile<7>(w[0] + p.w_plane, 64);
    MultiplyBf16<2, 4, 7>();
    MultiplyBf16<3, 5, 7>();
  }
  if constexpr (kWeight == 3) {
    LoadTile<7>(w[0] + 2 * p.w_plane, 64);
    MultiplyBf16<1 - kTurn, 4, 7>();
  }
}

// Split weights: one panel, whose smaller products use the second panel's tiles.
template <int kIn, int kWeight, int kPanels>
void Run(const FloatPanel& p, int64_t padded, float* out) {
  static_assert(kWeight == 1 || kPanels == 1, "four tiles of sums");
  ZeroTile<0>();
  ZeroTile<1>();
  ZeroTile<2>();
  ZeroTile<3>();
  int64_t k = 0;
  const auto weights = [&](int panel) { return p.w[panel] + k * kPanel * 2; };
  while (k + 2 * kStep <= padded) {
    Products<kIn, kWeight, kPanels, 0>(p, {weights(0), weights(kPanels - 1)}, k);
    k += kStep;
    Products<kIn, kWeight, kPanels, 1>(p, {weights(0), weights(kPanels - 1)}, k);
    k += kStep;
  }
  if (k + kStep <= padded) {
    Products<kIn, kWeight, kPanels, 0>(p, {weights(0), weights(kPanels - 1)}, k);
    k += kStep;
  }
  if (k < padded) {  // only weights that lie as in the file end in the middle of a step
    alignas(64) uint8_t last[2][kStepBytes] = {};
    for (int i = 0; i < kPanels; ++i) memcpy(last[i], weights(i), static_cast<size_t>(padded - k) * kPanel * 2);
    Products<kIn, kWeight, kPanels, 0>(p, {last[0], last[1]}, k);
  }
  alignas(64) float sums[4][kAmxRows * kPanel];
  StoreTile<0>(sums[0]);
  StoreTile<1>(sums[1]);
  StoreTile<2>(sums[2]);
  StoreTile<3>(sums[3]);
  for (int i = 0; i < kAmxRows * kPanel; i += 16) {
    const Vf first = Load(sums[0] + i) + Load(sums[1] + i), second = Load(sums[2] + i) + Load(sums[3] + i);
    if constexpr (kPanels == 2) {
      Store(out + i, first);
      Store(out + kAmxRows * kPanel + i, second);
    } else {
      Store(out + i, kWeight > 1 ? first + second : first);
    }
  }
}

}  // namespace

int64_t SplitBytes(Format format, int64_t padded_cols) {
  const int pieces = WeightPieces(format);
  return pieces == 1 ? 0 : pieces * RoundUp(padded_cols, kStep) * kPanel * 2;
}

void SplitPanel(const PackedMatrix& w, int64_t panel, uint8_t* out) {
  switch (w.shape.format) {
    case Format::kF32: return Split<ReadF32>(w, panel, out);
    case Format::kF16: return Split<ReadF16>(w, panel, out);
    case Format::kBf16: return;
    case Format::kInt8: return SplitCodes<Format::kInt8>(w, panel, out);
    case Format::kInt4: return SplitCodes<Format::kInt4>(w, panel, out);
  }
}

void SplitTile(const TileInput& in) {
  const int pieces = in.input == Input::kF32 ? 3 : 1;
  const int64_t cols = in.w->shape.cols, stride = RoundUp(in.w->padded_cols, kStep), plane = stride * kAmxRows;
  for (int r = 0; r < in.count; ++r) {
    uint16_t* row = static_cast<uint16_t*>(in.tile) + r * stride;
    for (int64_t k = 0; k < stride; k += 16) {
      Vf x = k < cols ? LoadN(in.x[r] + k, cols - k) : Zero();
      for (int i = 0; i < pieces; ++i) StoreU16(row + i * plane + k, TakePiece(x));
    }
  }
}

void AmxLinearFloat(const TileCall& call) {
  if (call.height != kAmxRows) return LinearFloat(call);
  const int64_t padded = call.w->padded_cols, up = RoundUp(padded, kStep), panel_bytes = padded * kPanel * 2;
  const int pieces = WeightPieces(call.w->shape.format);
  const bool split = pieces > 1, three = call.input == Input::kF32;
  FloatPanel p = {static_cast<const uint8_t*>(call.tile), up * 2 * kAmxRows, up * 2, {nullptr, nullptr}, up * kPanel * 2};
  alignas(64) float acc[2][2 * kAmxRows * kPanel];
  for (int64_t panel = call.panel_first; panel < call.panel_last;) {
    const int panels = !split && panel + 2 <= call.panel_last ? 2 : 1;
    const auto run = [&](const PackedMatrix& w, int64_t behind, float* out) {
      if (split) {
        p.w[0] = static_cast<const uint8_t*>(call.weights) + behind;
        return pieces == 2 ? Run<3, 2, 1>(p, up, out) : Run<3, 3, 1>(p, up, out);
      }
      p.w[0] = w.codes + panel * panel_bytes;
      p.w[1] = p.w[0] + panel_bytes;
      if (three) return panels == 2 ? Run<3, 1, 2>(p, padded, out) : Run<3, 1, 1>(p, padded, out);
      panels == 2 ? Run<1, 1, 2>(p, padded, out) : Run<1, 1, 1>(p, padded, out);
    };
    run(*call.w, 0, acc[0]);
    if (call.w2 != nullptr) run(*call.w2, SplitBytes(call.w->shape.format, padded), acc[1]);
    for (int i = 0; i < panels; ++i, ++panel) {
      const int at = i * kAmxRows * kPanel;
      StorePanel(call, panel, acc[0] + at, call.w2 != nullptr ? acc[1] + at : nullptr);
    }
  }
}

}  // namespace avx512
}  // namespace smelt
