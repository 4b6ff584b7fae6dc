// Where things lie in a packed matrix, and reading it element by element.
#include "half.h"
#include "isa.h"

namespace smelt {

PackedLayout LayoutOf(const PackedShape& s) {
  const int64_t panels = CeilDiv(s.rows, kPanel);
  const bool codes = s.format == Format::kInt8 || s.format == Format::kInt4;
  const int64_t unit = codes ? s.group : s.format == Format::kBf16 ? 2 : 1;
  const int64_t padded = RoundUp(s.cols, unit), elements = panels * kPanel * padded;
  static constexpr int64_t kBits[] = {32, 16, 16, 8, 4};
  const int64_t scales = RoundUp(elements * kBits[static_cast<int>(s.format)] / 8, 64);
  if (!codes) return {padded, scales, scales, scales};
  const int64_t zeros = scales + RoundUp(elements / s.group * 2, 64);
  return {padded, scales, zeros, zeros + (s.symmetric ? 0 : RoundUp(elements / s.group, 64))};
}

PackedMatrix MatrixAt(const PackedShape& shape, const void* blob) {
  const PackedLayout layout = LayoutOf(shape);
  const uint8_t* p = static_cast<const uint8_t*>(blob);
  PackedMatrix w;
  w.shape = shape;
  w.padded_cols = layout.padded_cols;
  w.codes = p;
  if (layout.zeros_offset > layout.scales_offset)
    w.scales = reinterpret_cast<const uint16_t*>(p + layout.scales_offset);
  if (layout.bytes > layout.zeros_offset) w.zeros = p + layout.zeros_offset;
  return w;
}

PackedMatrix RowsOf(const PackedMatrix& w, int64_t first, int64_t rows) {
  static constexpr int64_t kBits[] = {32, 16, 16, 8, 4};
  PackedMatrix part = w;
  part.shape.rows = rows;
  part.codes += first * w.padded_cols * kBits[static_cast<int>(w.shape.format)] / 8;
  const int64_t groups = w.shape.group != 0 ? w.padded_cols / w.shape.group : 0;
  if (w.scales != nullptr) part.scales += first * groups;
  if (w.zeros != nullptr) part.zeros += first * groups;
  return part;
}

namespace {

void UnpackRow(const PackedMatrix& w, int64_t row, float* y) {
  const int64_t panel = row / kPanel, r = row % kPanel, cols = w.shape.cols, padded = w.padded_cols;
  const int64_t first = panel * padded * kPanel;  // elements before the panel
  switch (w.shape.format) {
    case Format::kF32: {
      const float* p = reinterpret_cast<const float*>(w.codes) + first + r;
      for (int64_t c = 0; c < cols; ++c) y[c] = p[c * kPanel];
      return;
    }
    case Format::kF16: {
      const uint16_t* p = reinterpret_cast<const uint16_t*>(w.codes) + first + r;
      for (int64_t c = 0; c < cols; ++c) y[c] = FloatOfF16(p[c * kPanel]);
      return;
    }
    case Format::kBf16: {
      const uint16_t* p = reinterpret_cast<const uint16_t*>(w.codes) + first + 2 * r;
      for (int64_t c = 0; c < cols; ++c) y[c] = FloatOfBf16(p[c / 2 * 2 * kPanel + c % 2]);
      return;
    }
    case Format::kInt8:
    case Format::kInt4:
      break;
  }
  const bool four = w.shape.format == Format::kInt4;
  const int64_t group = w.shape.group, groups = padded / group;
  const uint8_t* p = w.codes + first / (four ? 2 : 1) + 4 * r;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = (panel * groups + g) * kPanel + r;
    const float scale = FloatOfF16(w.scales[at]);
    const int32_t zero = w.zeros != nullptr ? w.zeros[at] : four ? 8 : 128;
    const int64_t last = (g + 1) * group < cols ? (g + 1) * group : cols;
    for (int64_t c = g * group; c < last; ++c) {
      const int32_t code =
          four ? (p[c / 8 * 64 + c % 4] >> (c % 8 / 4 * 4)) & 15 : p[c / 4 * 64 + c % 4];
      y[c] = scale * static_cast<float>(code - zero);
    }
  }
}

}  // namespace

void Unpack(const Exec& exec, const PackedMatrix& w, float* y) {
  ParallelFor(exec.pool, CeilDiv(w.shape.rows, kPanel), [&](int64_t panel, int) {
    for (int64_t row = panel * kPanel; row < (panel + 1) * kPanel && row < w.shape.rows; ++row) {
      UnpackRow(w, row, y + row * w.shape.cols);
    }
  });
}

bool EmbeddingRows(const Exec& exec, const PackedMatrix& table, const int64_t* ids, int64_t count,
                   float* y, int64_t y_stride) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= table.shape.rows) return false;
  }
  constexpr int64_t kRowsPerTask = 16;
  ParallelFor(exec.pool, CeilDiv(count, kRowsPerTask), [&](int64_t task, int) {
    const int64_t last = (task + 1) * kRowsPerTask < count ? (task + 1) * kRowsPerTask : count;
    for (int64_t i = task * kRowsPerTask; i < last; ++i) UnpackRow(table, ids[i], y + i * y_stride);
  });
  return true;
}

}  // namespace smelt
