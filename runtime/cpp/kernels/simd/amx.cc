// Prefill on AMX: tiles of 16 input rows x 16 output rows. A packed panel is already the shape that AMX wants of its
// second operand ([K/4][16][4] bytes, [K/2][16][2] bf16), so weights need at most the unpacking of nibbles and zeros.
//
// Integers: one tile of exact sums a group, scaled and added in AVX-512 registers in the same order as everywhere else.
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "amx.h"
#include "linear.h"

namespace smelt {

bool GrantAmx() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

namespace avx512 {
namespace {

constexpr int64_t kFewRows = 8;  // up to here the AVX-512 kernels waste less
constexpr int64_t kBf16Step = 32;

// Columns of one tile product: all of a group, or an even share of at most 64.
int64_t StepOf(int64_t group) {
  for (int64_t step = 64; step > 16; step -= 16) {
    if (group % step == 0) return step;
  }
  return 16;
}

// int8 weights with zeros of their own keep unsigned codes, since code - zero needs nine bits.
bool StaysUnsigned(const PackedMatrix& w) { return w.shape.format == Format::kInt8 && w.zeros != nullptr; }

}  // namespace

int AmxHeight(Input input, int64_t rows) {
  return input == Input::kF32 || rows <= kFewRows ? TileHeight(input, rows) : kAmxRows;
}

int64_t AmxUnpackBytes(const PackedShape&, int64_t padded_cols, Input input, int height) {
  return height == kAmxRows && input == Input::kInt8 ? padded_cols * kPanel : 0;
}

// A panel as bytes [C/4][16][4]: code - zero, or the code where that does not fit.
void AmxUnpack(const PackedMatrix& w, Input, int64_t panel, void* out) {
  const int64_t group = w.shape.group, groups = w.padded_cols / group;
  const bool four = w.shape.format == Format::kInt4;
  const uint8_t* codes = w.codes + panel * w.padded_cols * (four ? 8 : 16);
  const uint8_t* zeros = w.zeros != nullptr ? w.zeros + panel * groups * kPanel : nullptr;
  uint8_t* p = static_cast<uint8_t*>(out);
  __m512i zero = _mm512_set1_epi8(StaysUnsigned(w) ? 0 : four ? 8 : -128);
  for (int64_t g = 0; g < groups; ++g) {
    if (four && zeros != nullptr) {
      zero = _mm512_mullo_epi32(LoadU8(zeros + g * kPanel).v, _mm512_set1_epi32(0x01010101));
    }
    if (four) {
      for (int64_t b = 0; b < group / 8; ++b, codes += 64, p += 128) {
        const Vb block = LoadB(codes);
        _mm512_storeu_si512(p, _mm512_sub_epi8(LowNibbles(block).v, zero));
        _mm512_storeu_si512(p + 64, _mm512_sub_epi8(HighNibbles(block).v, zero));
      }
    } else {
      for (int64_t b = 0; b < group / 4; ++b, codes += 64, p += 64) {
        _mm512_storeu_si512(p, _mm512_sub_epi8(LoadB(codes).v, zero));
      }
    }
  }
}

namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  void Set(int tile, int64_t count, int64_t bytes) {
    rows[tile] = static_cast<uint8_t>(count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

}  // namespace

// Tiles 0, 1: sums. 2, 3: inputs, weights. 4, 5: the same for the last, shorter step of bf16.
void AmxEnter(const PackedMatrix& w, Input input, int height) {
  if (height != kAmxRows) return;
  TileConfig config;
  config.Set(0, kAmxRows, 64);
  config.Set(1, kAmxRows, 64);
  const int64_t step = input == Input::kInt8 ? StepOf(w.shape.group) : 2 * kBf16Step;
  config.Set(2, kAmxRows, step);
  config.Set(3, step / 4, 64);
  const int64_t rest = input == Input::kInt8 ? 0 : w.padded_cols % kBf16Step;
  if (rest > 0) {
    config.Set(4, kAmxRows, rest * 2);
    config.Set(5, rest / 2, 64);
  }
  // GCC believes that the instruction reads eight bytes only, and would drop the other stores.
  asm volatile("ldtilecfg %0" : : "m"(config));
}

void AmxLeave(int height) {
  if (height == kAmxRows) _tile_release();
}

void AmxPackTile(const TileInput& in) {
  if (in.height != kAmxRows) return PackTile(in);
  const PackedShape& shape = in.w->shape;
  const int64_t cols = shape.cols, padded = in.w->padded_cols;
  if (in.count < in.height) memset(in.tile, 0, static_cast<size_t>(TileBytes(shape, padded, in.input, in.height)));
  if (in.input == Input::kBf16) {
    uint16_t* tile = static_cast<uint16_t*>(in.tile);
    const int64_t stride = RoundUp(padded, kBf16Step);
    for (int r = 0; r < in.count; ++r) {
      for (int64_t k = 0; k < stride; k += 16) {
        const Vf x = k < cols ? LoadN(in.x[r] + k, cols - k) : Zero();
        StoreU16(tile + r * stride + k, ToBf16(x));
      }
    }
    return;
  }
  const int64_t group = shape.group, groups = padded / group;
  int8_t* q = static_cast<int8_t*>(in.tile);
  float* scale = reinterpret_cast<float*>(q + padded * kAmxRows);
  int32_t* sums = reinterpret_cast<int32_t*>(scale + groups * kAmxRows);
  for (int r = 0; r < in.count; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = g * group, n = cols - first < group ? cols - first : group;
      const int64_t at = g * kAmxRows + r;
      scale[at] = QuantizeGroup(in.x[r] + first, n, group, q + r * padded + first, 4, &sums[at]);
    }
  }
}

namespace {

// out[16][16] of one panel, from its unpacked bytes.
template <bool kUnsigned>
void AmxIntPanel(const TileCall& call, const PackedMatrix& w, int64_t panel, const uint8_t* bytes, float* out) {
  const int64_t group = w.shape.group, padded = w.padded_cols, groups = padded / group, step = StepOf(group);
  const int8_t* q = static_cast<const int8_t*>(call.tile);
  const float* in_scale = reinterpret_cast<const float*>(q + padded * kAmxRows);
  const int32_t* in_sum = reinterpret_cast<const int32_t*>(in_scale + groups * kAmxRows);
  const uint16_t* scales = w.scales + panel * groups * kPanel;
  const uint8_t* zeros = kUnsigned ? w.zeros + panel * groups * kPanel : nullptr;
  alignas(64) int32_t dots[2][kAmxRows * kPanel];
  Vf sum[kAmxRows];
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) sum[r] = Zero();
  // Group g's tile is computed and stored while group g - 1's sums are scaled.
  for (int64_t g = 0; g <= groups; ++g) {
    if (g < groups) {
      const auto multiply = [&](auto which) __attribute__((always_inline)) {
        if constexpr (which() == 0) _tile_zero(0);
        else _tile_zero(1);
        for (int64_t k = g * group; k < (g + 1) * group; k += step) {
          _tile_loadd(2, q + k, padded);
          _tile_loadd(3, bytes + k * kPanel, 64);
          if constexpr (which() == 0 && kUnsigned) _tile_dpbsud(0, 2, 3);
          else if constexpr (which() == 0) _tile_dpbssd(0, 2, 3);
          else if constexpr (kUnsigned) _tile_dpbsud(1, 2, 3);
          else _tile_dpbssd(1, 2, 3);
        }
        if constexpr (which() == 0) _tile_stored(0, dots[0], 64);
        else _tile_stored(1, dots[1], 64);
      };
      if (g % 2 == 0) multiply([]() constexpr { return 0; });
      else multiply([]() constexpr { return 1; });
    }
    if (g == 0) continue;
    const int64_t done = g - 1;
    const int32_t* dot = dots[done % 2];
    const Vf scale = LoadF16(scales + done * kPanel);
    const float* row_scale = in_scale + done * kAmxRows;
    if constexpr (kUnsigned) {
      const Vi zero = LoadU8(zeros + done * kPanel);
#pragma GCC unroll 16
      for (int r = 0; r < kAmxRows; ++r) {
        const Vi exact = LoadI(dot + r * kPanel) - zero * SetI(in_sum[done * kAmxRows + r]);
        sum[r] = Fma(ToFloat(exact), scale * Set1(row_scale[r]), sum[r]);
      }
    } else {
#pragma GCC unroll 16
      for (int r = 0; r < kAmxRows; ++r) {
        sum[r] = Fma(ToFloat(LoadI(dot + r * kPanel)), scale * Set1(row_scale[r]), sum[r]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) Store(out + r * kPanel, sum[r]);
}

}  // namespace

void AmxLinearInt(const TileCall& call) {
  if (call.height != kAmxRows) return LinearInt(call);
  const uint8_t* bytes = static_cast<const uint8_t*>(call.weights);
  const auto kernel = StaysUnsigned(*call.w) ? AmxIntPanel<true> : AmxIntPanel<false>;
  alignas(64) float acc[2][kAmxRows * kPanel];
  kernel(call, *call.w, call.panel_first, bytes, acc[0]);
  if (call.w2 != nullptr) kernel(call, *call.w2, call.panel_first, bytes + call.w->padded_cols * kPanel, acc[1]);
  StorePanel(call, call.panel_first, acc[0], call.w2 != nullptr ? acc[1] : nullptr);
}

namespace {

void AmxBf16Panel(const TileCall& call, const PackedMatrix& w, int64_t panel, float* out) {
  const int64_t padded = w.padded_cols, stride = RoundUp(padded, kBf16Step) * 2;
  const uint8_t* x = static_cast<const uint8_t*>(call.tile);
  const uint8_t* codes = w.codes + panel * padded * kPanel * 2;
  _tile_zero(0);
  int64_t k = 0;
  for (; k + kBf16Step <= padded; k += kBf16Step) {
    _tile_loadd(2, x + k * 2, stride);
    _tile_loadd(3, codes + k * kPanel * 2, 64);
    _tile_dpbf16ps(0, 2, 3);
  }
  if (k < padded) {
    _tile_loadd(4, x + k * 2, stride);
    _tile_loadd(5, codes + k * kPanel * 2, 64);
    _tile_dpbf16ps(0, 4, 5);
  }
  _tile_stored(0, out, 64);
}

}  // namespace

void AmxLinearFloat(const TileCall& call) {
  if (call.height != kAmxRows) return LinearFloat(call);
  alignas(64) float acc[2][kAmxRows * kPanel];
  for (int64_t panel = call.panel_first; panel < call.panel_last; ++panel) {
    AmxBf16Panel(call, *call.w, panel, acc[0]);
    if (call.w2 != nullptr) AmxBf16Panel(call, *call.w2, panel, acc[1]);
    StorePanel(call, panel, acc[0], call.w2 != nullptr ? acc[1] : nullptr);
  }
}

}  // namespace avx512
}  // namespace smelt
