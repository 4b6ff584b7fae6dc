// Weights of every format as f32, exactly, a few columns of a panel at a time.
#pragma once

#include "linear.h"

namespace smelt {
namespace SMELT_ISA_NS {

// A reader turns the next kCols columns of a panel into vectors of 16 rows.
struct ReadF32 {
  static constexpr int kCols = 1;
  const uint8_t* p;
  void Begin(const PackedMatrix& w, int64_t panel) { p = w.codes + panel * w.padded_cols * 64; }
  SMELT_INLINE_MEMBER void Next(Vf* out) {
    out[0] = Load(reinterpret_cast<const float*>(p));
    p += 64;
  }
};

struct ReadF16 {
  static constexpr int kCols = 1;
  const uint8_t* p;
  void Begin(const PackedMatrix& w, int64_t panel) { p = w.codes + panel * w.padded_cols * 32; }
  SMELT_INLINE_MEMBER void Next(Vf* out) {
    out[0] = LoadF16(reinterpret_cast<const uint16_t*>(p));
    p += 32;
  }
};

struct ReadBf16 {
  static constexpr int kCols = 2;
  const uint8_t* p;
  void Begin(const PackedMatrix& w, int64_t panel) { p = w.codes + panel * w.padded_cols * 32; }
  SMELT_INLINE_MEMBER void Next(Vf* out) {
    const Vi pair = AsInt(LoadB(p));
    out[0] = AsFloat(Shl<16>(pair));
    out[1] = AsFloat(pair & SetI(static_cast<int32_t>(0xFFFF0000u)));
    p += 64;
  }
};

// Codes become f32(scale) * (code - zero), exactly; `left` counts the columns until the next group.
template <Format kFormat, bool kZeros>
struct ReadCodes {
  static constexpr int kCols = kFormat == Format::kInt4 ? 8 : 4;
  const uint8_t* p;
  const uint16_t* scales;
  const uint8_t* zeros;
  int32_t group = 0, left = 0;
  Vf scale = Zero();
  Vi zero = SetI(kFormat == Format::kInt4 ? 8 : 128);
  void Begin(const PackedMatrix& w, int64_t panel) {
    group = w.shape.group;
    const int64_t groups = w.padded_cols / group;
    p = w.codes + panel * w.padded_cols * (kFormat == Format::kInt4 ? 8 : 16);
    scales = w.scales + panel * groups * kPanel;
    zeros = kZeros ? w.zeros + panel * groups * kPanel : nullptr;
  }
  template <int kByte, int kWidth>
  SMELT_INLINE_MEMBER Vf Column(Vi block) const {
    return scale * ToFloat((Shr<kByte>(block) & SetI(kWidth)) - zero);
  }
  SMELT_INLINE_MEMBER void Next(Vf* out) {
    if (left == 0) {
      left = group;
      scale = LoadF16(scales);
      scales += kPanel;
      if constexpr (kZeros) {
        zero = LoadU8(zeros);
        zeros += kPanel;
      }
    }
    left -= kCols;
    const Vi block = AsInt(LoadB(p));
    p += 64;
    if constexpr (kFormat == Format::kInt4) {
      out[0] = Column<0, 15>(block);
      out[1] = Column<8, 15>(block);
      out[2] = Column<16, 15>(block);
      out[3] = Column<24, 15>(block);
      out[4] = Column<4, 15>(block);
      out[5] = Column<12, 15>(block);
      out[6] = Column<20, 15>(block);
      out[7] = Column<28, 15>(block);
    } else {
      out[0] = Column<0, 255>(block);
      out[1] = Column<8, 255>(block);
      out[2] = Column<16, 255>(block);
      out[3] = Column<24, 255>(block);
    }
  }
};

}  // namespace SMELT_ISA_NS
}  // namespace smelt
