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

// One term of one panel: 16 rows of inputs times 16 rows of weights.
struct IntJob {
  const int8_t* q;
  const float* in_scale;
  const int32_t* in_sum;
  const uint8_t* bytes;
  const uint16_t* scales;
  const uint8_t* zeros;
  float* out;  // [16][16]
};

constexpr int kMostJobs = 2 * 2 * kUnpackPanels;  // of two matrices, two terms

struct IntShape {
  int64_t group, groups, step;
};

// While tiles are in use, converting, multiplying and adding products run on one port only, and
// plain additions on two. Rows that are converted by additions balance the two.
constexpr int kAddedRows = 10;
constexpr int32_t kMagic = 0x4B400000;  // 1.5 * 2^23: in its neighbourhood floats are integers

// The group that is multiplied next.
struct Products {
  const IntJob* job;
  const int8_t* q;
  const uint8_t* bytes;
  int64_t left;
  SMELT_INLINE_MEMBER void Begin(const IntJob* first, const IntShape& s) {
    job = first;
    q = job->q;
    bytes = job->bytes;
    left = s.groups;
  }
  SMELT_INLINE_MEMBER void Next(const IntShape& s) {
    q += s.group * kAmxRows;
    bytes += s.group * kPanel;
    if (--left == 0) Begin(job + 1, s);
  }
};

// The group that is scaled next.
struct Scales {
  const IntJob* job;
  const float* in_scale;
  const int32_t* in_sum;
  const uint16_t* scales;
  const uint8_t* zeros;
  int64_t left;
  SMELT_INLINE_MEMBER void Begin(const IntJob* first, const IntShape& s) {
    job = first;
    in_scale = job->in_scale;
    in_sum = job->in_sum;
    scales = job->scales;
    zeros = job->zeros;
    left = s.groups;
  }
  // The last group of a job ends its sums.
  template <bool kUnsigned>
  SMELT_INLINE_MEMBER void Next(const IntShape& s, Vf (&sum)[kAmxRows]) {
    in_scale += kAmxRows;
    scales += kPanel;
    if constexpr (kUnsigned) {
      in_sum += kAmxRows;
      zeros += kPanel;
    }
    if (--left > 0) return;
#pragma GCC unroll 16
    for (int r = 0; r < kAmxRows; ++r) {
      Store(job->out + r * kPanel, sum[r]);
      sum[r] = Zero();
    }
    Begin(job + 1, s);
  }
};

template <bool kUnsigned, int kTile>
SMELT_INLINE void MultiplyStep(const uint8_t* bytes) {
  LoadTile<5>(bytes, 64);
  if constexpr (kUnsigned)
    MultiplyUnsigned<kTile, 4, 5>();
  else
    MultiplySigned<kTile, 4, 5>();
}

template <int kTile>
SMELT_INLINE void BeginProduct(const Products& p, const IntShape& s) {
  ZeroTile<kTile>();
  LoadTile<4>(p.q, s.step);
}

template <bool kUnsigned, int kTile>
SMELT_INLINE void EndProduct(Products& p, const IntShape& s) {
  MultiplyStep<kUnsigned, kTile>(p.bytes);
  for (int64_t k = s.step; k < s.group; k += s.step) {
    LoadTile<4>(p.q + k * kAmxRows, s.step);
    MultiplyStep<kUnsigned, kTile>(p.bytes + k * kPanel);
  }
  p.Next(s);
}

// Adds rows [kFirst, kLast) of a group's sums.
template <bool kUnsigned, bool kSmall, int kFirst, int kLast>
SMELT_INLINE void AddRows(const Scales& at, Vf scale, const int32_t* dots, Vf (&sum)[kAmxRows]) {
#pragma GCC unroll 16
  for (int r = kFirst; r < kLast; ++r) {
    Vi exact = LoadI(dots + r * kPanel);
    if constexpr (kUnsigned) exact = exact - LoadU8(at.zeros) * SetI(at.in_sum[r]);
    const Vf value = kSmall && r < kAddedRows
                         ? AsFloat(exact + SetI(kMagic)) - AsFloat(SetI(kMagic))
                         : ToFloat(exact);
    sum[r] = Fma(value, scale * Set1(at.in_scale[r]), sum[r]);
  }
}

// Adds the group whose tile lies in dots[kTile], and meanwhile multiplies the one after the next
// and stores the next one's tile.
template <bool kUnsigned, bool kSmall, int kTile>
SMELT_INLINE void Overlapped(const IntShape& s, Products& next, Scales& at,
                             int32_t (*dots)[kAmxRows * kPanel], Vf (&sum)[kAmxRows]) {
  const Vf scale = LoadF16(at.scales);
  BeginProduct<kTile>(next, s);
  AddRows<kUnsigned, kSmall, 0, 4>(at, scale, dots[kTile], sum);
  EndProduct<kUnsigned, kTile>(next, s);
  AddRows<kUnsigned, kSmall, 4, 12>(at, scale, dots[kTile], sum);
  StoreTile<1 - kTile>(dots[1 - kTile]);
  AddRows<kUnsigned, kSmall, 12, 16>(at, scale, dots[kTile], sum);
  at.Next<kUnsigned>(s, sum);
}

// All groups of all jobs in one row, so that the pipeline fills once. A tile is stored one group
// after its product was issued, and scaled another group later. jobs[count] is read, not used.
template <bool kUnsigned, bool kSmall>
void RunJobs(const IntShape& s, const IntJob* jobs, int64_t count) {
  alignas(64) int32_t dots[2][kAmxRows * kPanel];
  Vf sum[kAmxRows];
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) sum[r] = Zero();
  Products next;
  Scales at;
  next.Begin(jobs, s);
  at.Begin(jobs, s);
  const auto multiply = [&](auto tile) __attribute__((always_inline)) {
    BeginProduct<tile()>(next, s);
    EndProduct<kUnsigned, tile()>(next, s);
  };
  constexpr auto kEven = [] { return 0; };
  constexpr auto kOdd = [] { return 1; };
  int64_t left = count * s.groups;
  if (left > 0) multiply(kEven);
  if (left > 1) multiply(kOdd);
  if (left > 0) StoreTile<0>(dots[0]);
  for (; left >= 4; left -= 2) {
    Overlapped<kUnsigned, kSmall, 0>(s, next, at, dots, sum);
    Overlapped<kUnsigned, kSmall, 1>(s, next, at, dots, sum);
  }
  // At most three groups are left, two of them already multiplied.
  const auto add = [&](const int32_t* from) __attribute__((always_inline)) {
    AddRows<kUnsigned, kSmall, 0, kAmxRows>(at, LoadF16(at.scales), from, sum);
    at.Next<kUnsigned>(s, sum);
  };
  if (left > 2) multiply(kEven);
  if (left > 1) StoreTile<1>(dots[1]);
  if (left > 0) add(dots[0]);
  if (left > 2) StoreTile<0>(dots[0]);
  if (left > 1) add(dots[1]);
  if (left > 2) add(dots[0]);
}

void RunAny(const PackedMatrix& w, const IntJob* jobs, int64_t count) {
  const IntShape s = {w.shape.group, w.padded_cols / w.shape.group, StepOf(w.shape.group)};
  if (StaysUnsigned(w)) return RunJobs<true, false>(s, jobs, count);
  // Sums of products below 2^22 in size.
  const bool small = w.shape.format == Format::kInt4 || w.shape.group <= 256;
  small ? RunJobs<false, true>(s, jobs, count) : RunJobs<false, false>(s, jobs, count);
}

}  // namespace

void AmxUnpack(const PackedMatrix& w, Input input, int64_t panel, void* out) {
  if (IsInt(input)) return UnpackCodes(w, panel, static_cast<uint8_t*>(out));
  SplitPanel(w, panel, static_cast<uint8_t*>(out));
}

void AmxLinearInt(const TileCall& call) {
  if (call.height < kAmxRows) return LinearInt(call);
  const int64_t padded = call.w->padded_cols, groups = padded / call.w->shape.group;
  const int terms = Terms(call.input);
  alignas(64) float sums[kMostJobs][kAmxRows * kPanel];
  IntJob jobs[kMostJobs + 1];
  if (groups == 0) memset(sums, 0, sizeof sums);  // nobody else writes them
  const auto put = [&](const PackedMatrix& w, int64_t panel, const uint8_t* unpacked, int64_t job) {
    const uint16_t* scales = w.scales + panel * groups * kPanel;
    const uint8_t* zeros = w.zeros != nullptr ? w.zeros + panel * groups * kPanel : nullptr;
    const uint8_t* bytes = unpacked + (panel - call.panel_first) * padded * kPanel;
    for (int term = 0; term < terms; ++term, ++job) {
      const TileCall part = term == 0 ? call : SecondTerm(call);
      const int8_t* q = static_cast<const int8_t*>(part.tile);
      const float* in_scale = reinterpret_cast<const float*>(q + padded * kAmxRows);
      const int32_t* in_sum = reinterpret_cast<const int32_t*>(in_scale + groups * kAmxRows);
      jobs[job] = {q, in_scale, in_sum, bytes, scales, zeros, sums[job]};
    }
  };
  const int64_t each = call.w2 != nullptr ? 2 * terms : terms;
  for (int64_t panel = call.panel_first; panel < call.panel_last; ++panel) {
    const int64_t job = (panel - call.panel_first) * each;
    put(*call.w, panel, call.weights, job);
    if (call.w2 != nullptr) put(*call.w2, panel, call.weights2, job + terms);
  }
  const int64_t count = (call.panel_last - call.panel_first) * each;
  jobs[count] = jobs[0];
  RunAny(*call.w, jobs, count);
  for (int64_t job = 0; terms == 2 && job < count; job += 2) {
    for (int i = 0; i < kAmxRows * kPanel; i += kPanel)
      Store(sums[job] + i, Load(sums[job] + i) + Load(sums[job + 1] + i));
  }
  for (int64_t panel = call.panel_first; panel < call.panel_last; ++panel) {
    const int64_t job = (panel - call.panel_first) * each;
    StorePanel(call, panel, sums[job], call.w2 != nullptr ? sums[job + terms] : nullptr);
  }
}

}  // namespace avx512
}  // namespace smelt
