// Inside of the kernels: what each instruction set provides. Drivers (linear.cc, attention.cc, ...)
// cut the work into tasks and call these single-threaded pieces through one table.
#pragma once

#include "kernels.h"

namespace smelt {

constexpr int kPanel = 16;          // output rows of a packed panel
constexpr int kTileRows = 12;       // input rows of a prefill tile
constexpr int kAmxRows = 16;        // of an AMX tile, and of a tile of quantized inputs for it
constexpr int kAmxPair = 32;        // of a tile of float inputs for it: two of its own
constexpr int kUnpackPanels = 2;    // panels of weights that are prepared together
constexpr int kKeyTile = 64;        // keys of an attention tile
constexpr int kGemmPanel = 64;      // columns of a packed plain-matrix panel
constexpr int kMemoryColumns = 32;  // columns of a linear attention's matrix that a task takes

static inline int64_t RoundUp(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
static inline int64_t CeilDiv(int64_t x, int64_t by) { return (x + by - 1) / by; }

// Input rows in the order in which the linear kernels read them: `height` rows (see tile_height),
// those past `count` zero. C = padded_cols, G = C / group.
//
//   height 1 and kTileRows: rows interleaved by 4-byte units
//     kF32, kBf16 (rounded): f32 [C][height]; with bf16 dot products [C/2][height] pairs of bf16
//     kInt8: quads of int8 [C/4][height], f32 scale [G][height], int32 start [G][height]
//   height kAmxRows: int8 [height][C], f32 scale [G][height], int32 start [G][height]
//   height kAmxPair: bf16 [height][C up to 32]; for kF32 three such planes, x being their sum
//
// start is what the accumulator begins with when the zero point is constant, else the sum of the
// group's codes.
struct TileInput {
  const PackedMatrix* w;
  Input input;
  int height;
  int count;
  const float* const* x;  // [count] rows of w->shape.cols
  void* tile;
};

struct TileCall {
  const PackedMatrix* w;
  const PackedMatrix* w2;  // null unless gated
  const float* bias;
  const float* bias2;
  Activation act;
  Input input;
  int height;
  int count;
  const void* tile;
  int64_t panel_first, panel_last;
  float* const* y;               // [count] rows
  const float* const* residual;  // [count] rows or null
  const uint8_t* weights;        // what unpack made of the panels from panel_first on, or null
  const uint8_t* weights2;       // and of w2's
};

static inline bool IsInt(Input input) { return input == Input::kInt8 || input == Input::kInt8x2; }
static inline int Terms(Input input) { return input == Input::kInt8x2 ? 2 : 1; }

// One term of a quantized tile; the second lies behind the first.
static inline int64_t TermBytes(const PackedShape& w, int64_t padded_cols, int height) {
  return RoundUp((padded_cols + padded_cols / w.group * 8) * height, 64);
}

static inline int64_t TileBytes(const PackedShape& w, int64_t padded_cols, Input input,
                                int height) {
  if (IsInt(input)) return Terms(input) * TermBytes(w, padded_cols, height);
  if (height == kAmxPair)
    return RoundUp(padded_cols, 32) * 2 * height * (input == Input::kF32 ? 3 : 1);
  return RoundUp(padded_cols * 4 * height, 64);
}

// A task of attention: query tokens x heads of one key head, over some keys. Rows are (token, head)
// pairs, head fastest.
struct AttentionBlock {
  const AttentionArgs* args;
  int64_t b, kv_head;
  int64_t row;  // of the state
  int64_t query_first, query_last;
  int64_t key_first, key_last;
  float* scratch;  // this thread's
  float* partial;  // decode only: o [rows][value dim rounded up], max [rows], sum [rows]
};

// Its scratch, in floats. Prefill keeps rows in the lanes of vectors, decode keeps channels there.
struct BlockSizes {
  int64_t lanes, dim, value, query, scores, out, keys, values, total;
};
static inline BlockSizes PrefillSizes(const AttentionArgs& a, int64_t rows) {
  BlockSizes s = {};
  s.lanes = RoundUp(rows, 16);
  s.dim = RoundUp(a.dim, 16);
  s.value = RoundUp(a.value_dim, 16);
  s.query = s.dim * s.lanes;
  s.scores = kKeyTile * s.lanes;
  s.out = s.lanes * s.value;
  s.keys = kKeyTile * s.dim;
  s.values = kKeyTile * s.value;
  s.total = s.query + s.scores + s.out + s.keys + s.values + 5 * s.lanes + kKeyTile;
  return s;
}
static inline BlockSizes DecodeSizes(const AttentionArgs& a, int64_t rows, int64_t keys) {
  BlockSizes s = {};
  s.lanes = RoundUp(keys, 16);
  s.dim = RoundUp(a.dim, 16);
  s.value = RoundUp(a.value_dim, 16);
  s.query = rows * s.dim;
  s.scores = rows * s.lanes;
  s.keys = kKeyTile * (s.dim > s.value ? s.dim : s.value);  // widened rows of either
  s.total = s.query + s.scores + s.keys;
  return s;
}

// The keys that query token i of batch element b may see by position: [first, last), maybe empty.
struct KeyRange {
  int64_t first, last;
};
static inline KeyRange KeysOf(const AttentionArgs& a, int64_t b, int64_t i) {
  const int64_t keys = a.KeysOf(b), at = keys - a.queries + i;
  int64_t first = 0, last = keys;
  if (a.causal) last = at + 1;
  if (a.window > 0) {
    first = at - a.window + 1;
    if (!a.causal) last = at + a.window < last ? at + a.window : last;
  }
  if (a.k.ring > 0 && keys - a.k.ring > first) first = keys - a.k.ring;
  if (first < 0) first = 0;
  if (last < first) last = first;
  return {first, last};
}

struct KernelTable {
  int (*tile_height)(Format format, Input input, int64_t rows);
  // Only where tiles of weights are prepared: bytes for one panel (0: it is read as it lies), the
  // preparation, and what a thread does before and after it computes.
  int64_t (*unpack_bytes)(const PackedShape& w, int64_t padded_cols, Input input, int height);
  void (*unpack)(const PackedMatrix& w, Input input, int64_t panel, void* out);
  void (*enter)(const PackedMatrix& w, Input input, int height);
  void (*leave)(int height);
  void (*pack_tile)(const TileInput&);
  void (*linear_float)(const TileCall&);  // Input kF32, kBf16
  void (*linear_int)(const TileCall&);    // Input kInt8
  void (*quantize_row)(const float* x, int64_t cols, int32_t group, int8_t* q, float* scales);

  void (*attend_block)(
      const AttentionBlock&);  // prefill: all keys of [key_first, key_last), result to out
  void (*attend_chunk)(const AttentionBlock&);  // decode: part of the keys, result to partial
  void (*merge_chunks)(const AttentionBlock&, int64_t chunks, int64_t partial_stride);
  void (*kv_store)(const KvCache&, int64_t b, int64_t head, const float* row, int64_t slot);
  void (*kv_load)(const KvView&, int64_t b, int64_t head, int64_t position, int64_t dim,
                  float* row);

  void (*rope)(const RopeArgs&, int64_t b, int64_t token);  // all heads of a token
  void (*rms_norm)(const NormArgs&, int64_t row_first, int64_t row_last);
  void (*layer_norm)(const NormArgs&, int64_t row_first, int64_t row_last);
  void (*linear_attention)(const LinearAttentionArgs&, int64_t b, int64_t head, int64_t column,
                           float* scratch);  // kMemoryColumns columns, fewer at the end
  void (*softmax)(const float* x, int64_t rows, int64_t dim, float* y);
  void (*activate)(Activation act, const float* x, int64_t count, float* y);
  void (*gated)(Activation act, const float* gate, const float* up, int64_t count, float* y);
  void (*unary)(Unary op, const float* x, int64_t count, float* y);
  void (*binary)(Binary op, const float* a, int64_t a_col, const float* b, int64_t b_col,
                 int64_t count, float* y);

  // c[rows, 64] = a[rows, k] · panel[k, 64] (+= when add); c keeps only `cols` columns.
  void (*gemm_panel)(const float* a, int64_t lda, const float* panel, int64_t k, int64_t rows,
                     int64_t cols, float* c, int64_t ldc, bool add);
  // panel[k, 64] of b[k, n] or b[n, k]ᵀ from column `first`, `cols` columns, the rest zero.
  void (*gemm_pack)(const float* b, int64_t ldb, bool transposed, int64_t first, int64_t cols,
                    int64_t k, float* panel);
};

const KernelTable& TableOf(Isa isa);

namespace portable {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable, kBf16Table, kAmxTable;
}
namespace neon {
extern const KernelTable kTable;
}
namespace i8mm {
extern const KernelTable kTable;
}
bool GrantAmx();  // asks the system once; false where there is none

}  // namespace smelt
