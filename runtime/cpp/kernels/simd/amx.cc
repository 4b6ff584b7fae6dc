// Prefill on AMX: tiles of 16 input rows x 16 output rows. A packed panel is already the shape that
// AMX wants of its second operand ([K/4][16][4] bytes, [K/2][16][2] bf16), so weights need at most
// the unpacking of nibbles and zeros.
//
// Here the choice, and integers: one tile of exact sums a group, scaled and added in AVX-512
// registers in the same order as everywhere else.
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "amx.h"
#include "amx_tiles.h"

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

constexpr int64_t kFewRows = 8;     // up to here the AVX-512 kernels waste less,
constexpr int64_t kSplitRows = 32;  // or up to here, where panels must be split into bf16 first

// Columns of one tile product: all of a group, or an even share of at most 64.
int64_t StepOf(int64_t group) {
  for (int64_t step = 64; step > 16; step -= 16) {
    if (group % step == 0) return step;
  }
  return 16;
}

// int8 weights with zeros of their own keep unsigned codes, since code - zero needs nine bits.
bool StaysUnsigned(const PackedMatrix& w) {
  return w.shape.format == Format::kInt8 && w.zeros != nullptr;
}

}  // namespace

int AmxHeight(Format format, Input input, int64_t rows) {
  const bool split = input == Input::kF32 && format != Format::kBf16;
  if (rows <= (split ? kSplitRows : kFewRows)) return TileHeight(format, input, rows);
  return IsInt(input) ? kAmxRows : kAmxPair;
}

int64_t AmxUnpackBytes(const PackedShape& w, int64_t padded_cols, Input input, int height) {
  if (height < kAmxRows) return 0;
  return IsInt(input) ? padded_cols * kPanel : SplitBytes(w.format, padded_cols);
}

// Tiles 0-3: sums. 4, 5: inputs and weights of integers. 4, 5 and 6, 7: the same of bf16.
void AmxEnter(const PackedMatrix& w, Input input, int height) {
  if (height < kAmxRows) return;
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.Set(tile, kAmxRows, 64);
  if (IsInt(input)) {
    const int64_t step = StepOf(w.shape.group);
    config.Set(4, kAmxRows, step);
    config.Set(5, step / 4, 64);
  }
  asm volatile("ldtilecfg %0" : : "m"(config));
}

void AmxLeave(int height) {
  if (height >= kAmxRows) _tile_release();
}

void AmxPackTile(const TileInput& in) {
  if (in.height < kAmxRows) return PackTile(in);
  const PackedShape& shape = in.w->shape;
  const int64_t padded = in.w->padded_cols;
  if (in.count < in.height)
    memset(in.tile, 0, static_cast<size_t>(TileBytes(shape, padded, in.input, in.height)));
  if (!IsInt(in.input)) return SplitTile(in);
  const int64_t groups = padded / shape.group, step = StepOf(shape.group);
  int8_t* q = static_cast<int8_t*>(in.tile);
  float* scale = reinterpret_cast<float*>(q + padded * kAmxRows);
  int32_t* sums = reinterpret_cast<int32_t*>(scale + groups * kAmxRows);
  for (int r = 0; r < in.count; ++r) {
    QuantizeTerms(in.x[r], shape.cols, shape.group,
                  {q + r * step, step, step * kAmxRows, scale + r, sums + r, kAmxRows, 1},
                  Terms(in.input), TermBytes(shape, padded, kAmxRows));
  }
}

namespace {

// A panel as bytes [C/4][16][4]: code - zero, or the code where that does not fit.
void UnpackCodes(const PackedMatrix& w, int64_t panel, uint8_t* p) {
  const int64_t group = w.shape.group, groups = w.padded_cols / group;
  const bool four = w.shape.format == Format::kInt4;
  const uint8_t* codes = w.codes + panel * w.padded_cols * (four ? 8 : 16);
  const uint8_t* zeros = w.zeros != nullptr ? w.zeros + panel * groups * kPanel : nullptr;
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

struct IntPanel {
  int64_t group, groups, step;
  const int8_t* q;
  const float* in_scale;
  const int32_t* in_sum;
  const uint8_t* bytes;
  const uint16_t* scales;
  const uint8_t* zeros;
};

// While tiles are in use, converting, multiplying and adding products run on one port only, and
// plain additions on two. Rows that are converted by additions balance the two.
constexpr int kAddedRows = 10;
constexpr int32_t kMagic = 0x4B400000;  // 1.5 * 2^23: in its neighbourhood floats are integers

template <int kTile>
SMELT_INLINE void LoadInputs(const IntPanel& p, int64_t k) {
  LoadTile<kTile>(p.q + k * kAmxRows, p.step);
}

template <bool kUnsigned, int kTile>
SMELT_INLINE void MultiplyStep(const IntPanel& p, int64_t k) {
  LoadTile<5>(p.bytes + k * kPanel, 64);
  if constexpr (kUnsigned)
    MultiplyUnsigned<kTile, 4, 5>();
  else
    MultiplySigned<kTile, 4, 5>();
}

// The product of a group, without the inputs of its first step, which are loaded already.
template <bool kUnsigned, int kTile>
SMELT_INLINE void MultiplyRest(const IntPanel& p, int64_t g) {
  int64_t k = g * p.group;
  const int64_t end = k + p.group;
  MultiplyStep<kUnsigned, kTile>(p, k);
  for (k += p.step; k < end; k += p.step) {
    LoadInputs<4>(p, k);
    MultiplyStep<kUnsigned, kTile>(p, k);
  }
}

template <bool kUnsigned, int kTile>
SMELT_INLINE void Multiply(const IntPanel& p, int64_t g) {
  ZeroTile<kTile>();
  LoadInputs<4>(p, g * p.group);
  MultiplyRest<kUnsigned, kTile>(p, g);
}

// Scales the sums of rows [kFirst, kLast) of a group.
template <bool kUnsigned, bool kSmall>
struct Scaling {
  const int32_t* dots;
  const float* in_scale;
  const int32_t* in_sum;
  Vf scale;
  Vi zero;
  SMELT_INLINE_MEMBER Scaling(const IntPanel& p, int64_t g, const int32_t* from)
      : dots(from), in_scale(p.in_scale + g * kAmxRows), in_sum(p.in_sum + g * kAmxRows) {
    scale = LoadF16(p.scales + g * kPanel);
    if constexpr (kUnsigned) zero = LoadU8(p.zeros + g * kPanel);
  }
  SMELT_INLINE_MEMBER Vf Exact(int r) const {
    Vi exact = LoadI(dots + r * kPanel);
    if constexpr (kUnsigned) exact = exact - zero * SetI(in_sum[r]);
    if (!kSmall || r >= kAddedRows) return ToFloat(exact);
    return AsFloat(exact + SetI(kMagic)) - AsFloat(SetI(kMagic));
  }
  template <int kFirst, int kLast>
  SMELT_INLINE_MEMBER void Add(Vf (&sum)[kAmxRows]) const {
#pragma GCC unroll 16
    for (int r = kFirst; r < kLast; ++r) sum[r] = Fma(Exact(r), scale * Set1(in_scale[r]), sum[r]);
  }
};

// Adds group g, whose tile lies in dots[kTile], and meanwhile stores the next group's tile and
// multiplies the one after that.
template <bool kUnsigned, bool kSmall, int kTile>
SMELT_INLINE void Overlapped(const IntPanel& p, int64_t g, int32_t (*dots)[kAmxRows * kPanel],
                             Vf (&sum)[kAmxRows]) {
  const Scaling<kUnsigned, kSmall> scaling(p, g, dots[kTile]);
  ZeroTile<kTile>();
  LoadInputs<4>(p, (g + 2) * p.group);
  scaling.template Add<0, 4>(sum);
  MultiplyRest<kUnsigned, kTile>(p, g + 2);
  scaling.template Add<4, 12>(sum);
  StoreTile<1 - kTile>(dots[1 - kTile]);
  scaling.template Add<12, 16>(sum);
}

// out[16][16] of one panel, from its unpacked bytes. A tile is stored one group after its product
// was issued, and scaled another group later.
template <bool kUnsigned, bool kSmall>
void AmxIntPanel(const TileCall& call, const PackedMatrix& w, int64_t panel, const uint8_t* bytes,
                 float* out) {
  IntPanel p;
  p.group = w.shape.group;
  p.groups = w.padded_cols / p.group;
  p.step = StepOf(p.group);
  p.q = static_cast<const int8_t*>(call.tile);
  p.in_scale = reinterpret_cast<const float*>(p.q + w.padded_cols * kAmxRows);
  p.in_sum = reinterpret_cast<const int32_t*>(p.in_scale + p.groups * kAmxRows);
  p.bytes = bytes;
  p.scales = w.scales + panel * p.groups * kPanel;
  p.zeros = kUnsigned ? w.zeros + panel * p.groups * kPanel : nullptr;
  alignas(64) int32_t dots[2][kAmxRows * kPanel];
  Vf sum[kAmxRows];
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) sum[r] = Zero();
  if (p.groups > 0) Multiply<kUnsigned, 0>(p, 0);
  if (p.groups > 1) Multiply<kUnsigned, 1>(p, 1);
  if (p.groups > 0) StoreTile<0>(dots[0]);
  int64_t g = 0;
  for (; g + 4 <= p.groups; g += 2) {
    Overlapped<kUnsigned, kSmall, 0>(p, g, dots, sum);
    Overlapped<kUnsigned, kSmall, 1>(p, g + 1, dots, sum);
  }
  // At most three groups are left, two of them already multiplied.
  const auto add = [&](int64_t i, const int32_t* from) __attribute__((always_inline)) {
    Scaling<kUnsigned, kSmall>(p, i, from).template Add<0, kAmxRows>(sum);
  };
  const int64_t left = p.groups - g;
  if (left > 2) Multiply<kUnsigned, 0>(p, g + 2);
  if (left > 1) StoreTile<1>(dots[1]);
  if (left > 0) add(g, dots[0]);
  if (left > 2) StoreTile<0>(dots[0]);
  if (left > 1) add(g + 1, dots[1]);
  if (left > 2) add(g + 2, dots[0]);
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) Store(out + r * kPanel, sum[r]);
}

using AmxPanel = void (*)(const TileCall&, const PackedMatrix&, int64_t, const uint8_t*, float*);

AmxPanel PanelOf(const PackedMatrix& w) {
  if (StaysUnsigned(w)) return AmxIntPanel<true, false>;
  // Sums of products below 2^22 in size.
  const bool small = w.shape.format == Format::kInt4 || w.shape.group <= 256;
  return small ? AmxIntPanel<false, true> : AmxIntPanel<false, false>;
}

}  // namespace

void AmxUnpack(const PackedMatrix& w, Input input, int64_t panel, void* out) {
  if (IsInt(input)) return UnpackCodes(w, panel, static_cast<uint8_t*>(out));
  SplitPanel(w, panel, static_cast<uint8_t*>(out));
}

void AmxLinearInt(const TileCall& call) {
  if (call.height < kAmxRows) return LinearInt(call);
  const AmxPanel kernel = PanelOf(*call.w);
  alignas(64) float acc[2][kAmxRows * kPanel], more[kAmxRows * kPanel];
  for (int64_t panel = call.panel_first; panel < call.panel_last; ++panel) {
    const int64_t at = (panel - call.panel_first) * call.w->padded_cols * kPanel;
    const auto run = [&](const PackedMatrix& w, const uint8_t* bytes, float* out) {
      kernel(call, w, panel, bytes + at, out);
      if (Terms(call.input) == 1) return;
      kernel(SecondTerm(call), w, panel, bytes + at, more);
      for (int r = 0; r < kAmxRows; ++r)
        Store(out + r * kPanel, Load(out + r * kPanel) + Load(more + r * kPanel));
    };
    run(*call.w, call.weights, acc[0]);
    if (call.w2 != nullptr) run(*call.w2, call.weights2, acc[1]);
    StorePanel(call, panel, acc[0], call.w2 != nullptr ? acc[1] : nullptr);
  }
}

}  // namespace avx512
}  // namespace smelt
