// Compute kernels of the edge runtime: everything that touches numbers, and nothing else.
//
// Goals: no allocation, no exceptions, no third-party code; weights are used from the mapped file
// as they lie; integers bit-equal on every instruction set; every output element is computed by one
// task in one fixed order, so results do not depend on the number of threads.
//
// Non-goals: checking shapes. The loader has proven them; kernels trust their arguments (embedding
// ids excepted).
//
// Conventions: all pointers are to f32 unless said otherwise; strides count elements; scratch is
// 64-byte aligned and sized by the matching ...ScratchBytes function, which depends on shapes and
// the pool's thread count only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../threads.h"

namespace smelt {

// ---- where a kernel runs ----

// kAvx2: and FMA, F16C; kAvx512: F BW DQ VL VNNI; kAvx512Bf16: and dot products of bf16;
// kAmx: and AMX tiles of int8 and bf16, which the system must grant;
// kNeon: and dot products; kI8mm: and int8 matrix products.
enum class Isa : uint8_t { kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmx, kNeon, kI8mm };
constexpr int kIsas = 7;

bool IsaSupported(Isa isa);
const char* IsaName(Isa isa);  // as SMELT_ISA names it
// The best supported set, or the one SMELT_ISA names when it is supported; read once, then fixed.
Isa BestIsa();

// First argument of every kernel.
struct Exec {
  Isa isa = BestIsa();
  ThreadPool* pool = nullptr;  // null: the calling thread does everything
  int threads() const { return pool ? pool->threads() : 1; }
};

enum class DType : uint8_t { kF32, kF16, kBf16, kI8 };

// ---- packed weights ----
//
// A matrix W[rows, cols] (rows = output channels) is cut into panels of 16 rows; the last panel is
// filled with zero rows. Columns are padded to `padded_cols`. Planes follow one another in one
// blob, each plane 64-byte aligned relative to the blob's start (pad with zero bytes): codes, then
// scales, then zeros. P = ceil(rows / 16).
//
// clang-format off
//   format   group  padded_cols (C)      codes plane
//   kF32     -      cols                 f32 [P][C][16]      value(16p+r, c) at [p][c][r]
//   kF16     -      cols                 f16 [P][C][16]      value(16p+r, c) at [p][c][r]
//   kBf16    -      cols up to even      bf16[P][C/2][16][2] value(16p+r, 2b+e) at [p][b][r][e]
//   kInt8    16n    cols up to group     u8  [P][C/4][16][4] code(16p+r, 4b+e) at [p][b][r][e]
//   kInt4    16n    cols up to group     u8  [P][C/8][16][4] at [p][b][r][e]: low nibble
//                                            code(16p+r, 8b+e), high nibble code(16p+r, 8b+4+e)
//   scales (kInt8, kInt4): f16 [P][C/group][16]
//   zeros  (kInt8, kInt4, only when asymmetric): u8 [P][C/group][16]
// clang-format on
//
// Codes are stored unsigned. Symmetric: int4 stores code 0..15 with zero 8; int8 stores (signed
// code + 128) with zero 128. Asymmetric: the code itself (0..15, 0..255) and zeros as given.
// weight = f32(scale) * (code - zero). Padding columns: code = zero; padding rows: scale 0 as well.
//
// In numpy, for int8: t = codes.reshape(P, 16, C // 4, 4).transpose(0, 2, 1, 3); for int4 the same,
// then t[:, 0::2] | t[:, 1::2] << 4.

enum class Format : uint8_t { kF32 = 0, kF16 = 1, kBf16 = 2, kInt8 = 3, kInt4 = 4 };

struct PackedShape {
  Format format = Format::kF32;
  bool symmetric = true;  // kInt8, kInt4 only
  int32_t group = 0;      // kInt8, kInt4: multiple of 16, at most 1024; 0 otherwise
  int64_t rows = 0;
  int64_t cols = 0;
};

struct PackedLayout {
  int64_t padded_cols, scales_offset, zeros_offset, bytes;  // bytes: whole blob, a multiple of 64
};
// Every product is far below 2^63 for rows, cols < 2^31: the loader checks those first.
PackedLayout LayoutOf(const PackedShape& shape);

// A packed matrix in mapped memory; a view, not an owner.
struct PackedMatrix {
  PackedShape shape;
  int64_t padded_cols = 0;
  const uint8_t* codes = nullptr;
  const uint16_t* scales = nullptr;
  const uint8_t* zeros = nullptr;  // null: the format's constant zero
};
PackedMatrix MatrixAt(const PackedShape& shape, const void* blob);
// Rows [first, first + rows) of a matrix; first is a multiple of 16 (so a packed [gate; up] splits
// in two views).
PackedMatrix RowsOf(const PackedMatrix& w, int64_t first, int64_t rows);
// The matrix as plain f32 [rows, cols]; exact. For tests, fallbacks and verification.
void Unpack(const Exec& exec, const PackedMatrix& w, float* y);
// y[i] = row ids[i] of the table; false, and nothing read, when an id is outside [0, rows).
bool EmbeddingRows(const Exec& exec, const PackedMatrix& table, const int64_t* ids, int64_t count,
                   float* y, int64_t y_stride);

// ---- linear ----

// clang-format off
enum class Activation : uint8_t {
  kNone, kSilu, kGelu, kGeluTanh, kRelu, kSigmoid, kTanh, kQuickGelu, kRelu2
};
// clang-format on

// How the input of a linear is seen by the multiplication.
//
// kF32: as given. Every format; weights are widened exactly. The precise path.
//
// kBf16: rounded to bf16 (to nearest even), products summed in f32. kBf16 weights; fast with dot
// products of bf16 and with AMX, which take denormals for zero.
//
// kInt8: quantized per row and weight group, exactly: amax = max|x|; scale = amax / 127;
// q = clip(rint(x * (127 / amax)), -127, 127), and q = 0, scale = 0 where amax is 0. Then
// dot = exact int32 sum of (code - zero) * q, and y = the sum over groups of
// f32(weight scale) * scale * f32(dot). kInt8 and kInt4 weights.
//
// kInt8x2: two terms of kInt8: x as above, then what that left over, x - scale * q (two roundings,
// no fused multiply-add), quantized the same way; y is the sum of both products. About 15 bits of x
// survive. The second product meets weights that the first has just brought into the cache.
enum class Input : uint8_t { kF32, kBf16, kInt8, kInt8x2 };

// y = act(x Wᵀ + bias) [+ residual];  gated: y = act(x Wᵀ + bias) * (x W2ᵀ + bias2) [+ residual].
// residual may be y itself (y += ...). x and y must not overlap.
struct LinearArgs {
  PackedMatrix w;
  PackedMatrix w2;               // gated form when w2.codes is set: same shape and format as w
  const float* bias = nullptr;   // [O] or null
  const float* bias2 = nullptr;  // [O] or null
  Activation act = Activation::kNone;
  Input input = Input::kF32;
  int64_t rows = 0;
  const float* x = nullptr;  // [rows, K], row stride x_stride
  int64_t x_stride = 0;
  float* y = nullptr;  // [rows, O], row stride y_stride
  int64_t y_stride = 0;
  const float* residual = nullptr;  // [rows, O], row stride residual_stride, or null
  int64_t residual_stride = 0;
};
size_t LinearScratchBytes(const Exec& exec, const PackedShape& w, Input input, int64_t rows);
void Linear(const Exec& exec, const LinearArgs& args, void* scratch);

// Mixture of experts: row i of y uses expert experts[i] of `count` equal matrices that lie
// expert_bytes apart (w is expert 0, likewise w2 when gated) and row (source ? source[i] : i) of x.
// experts[i] outside [0, count): y row is zero. Only the chosen experts' weights are read. bias:
// [count, O]. Residual is not used.
struct GroupedLinearArgs {
  LinearArgs linear;  // rows = rows of y
  int64_t count = 0;
  int64_t expert_bytes = 0;
  const int32_t* experts = nullptr;  // [rows]
  const int32_t* source = nullptr;   // [rows] or null
};
size_t GroupedLinearScratchBytes(const Exec& exec, const PackedShape& w, Input input, int64_t rows,
                                 int64_t count);
void GroupedLinear(const Exec& exec, const GroupedLinearArgs& args, void* scratch);

// The quantization of Input::kInt8 on its own: q int8 [rows, cols], scales f32 [rows, ceil(cols /
// group)].
void QuantizeRows(const Exec& exec, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                  int32_t group, int8_t* q, float* scales);

// ---- attention and its state ----

// Element (b, h, s, d) of a [batch, heads, tokens, dim] tensor in any order of its outer axes; dim
// is contiguous.
struct Heads {
  float* data = nullptr;
  int64_t batch = 0, head = 0, token = 0;  // strides
};

// Keys or values: a cache region, or activations seen as one (dtype kF32, ring 0).
struct KvView {
  DType dtype = DType::kF32;
  const void* data = nullptr;
  const float* scales = nullptr;            // kI8: value = scale * code, one a (batch, head, slot)
  int64_t batch = 0, head = 0, token = 0;   // strides of data
  int64_t scale_batch = 0, scale_head = 0;  // strides of scales (slots are adjacent)
  int64_t ring = 0;  // slots in the ring: logical position p lies at slot p % ring; 0: at slot p
};

// A cache region [batch, heads, capacity, dim] of dtype, and for kI8 f32 scales [batch, heads,
// capacity].
struct KvCache {
  DType dtype = DType::kF32;
  void* data = nullptr;
  float* scales = nullptr;
  int64_t batch = 0, heads = 0, capacity = 0, dim = 0;
  bool ring = false;
};
// Multiples of 64; no scales (0) unless kI8.
size_t KvDataBytes(DType dtype, int64_t batch, int64_t heads, int64_t capacity, int64_t dim);
size_t KvScaleBytes(DType dtype, int64_t batch, int64_t heads, int64_t capacity);
KvView ViewOf(const KvCache& cache);
// Batch elements that lie in any rows of the state, each with its own entries; null: element b lies
// in row b, and all hold as many.
struct StateRows {
  const int64_t* rows = nullptr;     // of element b
  const int64_t* lengths = nullptr;  // entries that it held before this call
  int64_t RowOf(int64_t b) const { return rows != nullptr ? rows[b] : b; }
};

// Writes tokens [0, count) of src to logical positions [position, position + count) (or from each
// row's own length on), converting (f16, bf16: nearest even; kI8: as Input::kInt8 with the group =
// dim). A ring keeps the newest `capacity` of them.
void KvStore(const Exec& exec, const KvCache& cache, const Heads& src, int64_t position,
             int64_t count, const StateRows& state = {});
// Reads logical positions [position, position + count) back as f32; of rows with lengths, the last
// `added` of which are new, zeros where one has none.
void KvLoad(const Exec& exec, const KvCache& cache, int64_t position, int64_t count,
            const Heads& dst, const StateRows& state = {}, int64_t added = 0);

// out[b,h,i,:] = softmax_j(cap(scale * q·k) + bias) · v over the allowed keys j of [0, keys), where
// cap(s) = softcap * tanh(s / softcap), and query head h uses key head h / (heads / kv_heads).
//
// With d = (keys - 1 - j) - (queries - 1 - i): causal: d >= 0 [and d < window]; not causal with a
// window: |d| < window. A key must also have mask != 0 and, in a ring, be one of the newest `ring`
// positions: a ring that serves chunks of S queries under window w needs at least w + S - 1 slots.
// No allowed key: the row is zero. sinks: one more logit a head, which takes probability and gives
// no value. Key and value dims up to 1024.
struct AttentionArgs {
  int64_t batch = 1, heads = 1, kv_heads = 1, queries = 1, keys = 1, dim = 0, value_dim = 0;
  Heads q, out;  // out has value_dim channels
  KvView k, v;
  float scale = 1.0f, softcap = 0.0f;  // softcap 0: none
  bool causal = false;
  int64_t window = 0;  // 0: none
  // Element (b, h, i, j) at b * bias_batch + h * bias_head + i * bias_query + j; stride 0 repeats.
  const float* bias = nullptr;
  int64_t bias_batch = 0, bias_head = 0, bias_query = 0;
  const uint8_t* mask = nullptr;  // (b, j) at b*mask_batch + j; null: all
  int64_t mask_batch = 0;
  const float* sinks = nullptr;  // [heads] or null
  // Scaled queries, keys and values are rounded to bf16; probabilities may be, where it is faster.
  bool bf16 = false;
  // Keys and values in rows of their own lengths: element b has lengths[b] + queries keys, which
  // stand for `keys` above; `keys` is at least the largest of them.
  StateRows state;
  int64_t KeysOf(int64_t b) const {
    return state.lengths != nullptr ? state.lengths[b] + queries : keys;
  }
};
// Depends on shapes only, and grows with queries and keys: the largest shape's is enough for all.
size_t AttentionScratchBytes(const Exec& exec, const AttentionArgs& args);
void Attention(const Exec& exec, const AttentionArgs& args, void* scratch);

// Rotates the first `rotary` channels of each head, in place when y == x. Half-split pairs channel
// i with i + rotary/2; interleaved pairs 2i with 2i+1. cos, sin: [tokens, rotary/2], table row =
// b*table_batch + s*table_token.
struct RopeArgs {
  int64_t batch = 1, heads = 1, tokens = 1, dim = 0, rotary = 0;
  Heads x, y;
  const float* cos = nullptr;
  const float* sin = nullptr;
  int64_t table_batch = 0, table_token = 0;  // strides in elements
  bool interleaved = false;
};
void Rope(const Exec& exec, const RopeArgs& args);

// ---- rows: norms, softmax, element-wise ----

// y = x / sqrt(mean(x²) + eps) * (weight + offset); weight null: 1. With `add`: x + add is
// normalized and also written to sum (sum may be x or add). Contiguous rows of `dim`.
struct NormArgs {
  int64_t rows = 0, dim = 0;
  const float* x = nullptr;
  const float* add = nullptr;
  float* sum = nullptr;
  const float* weight = nullptr;
  const float* bias = nullptr;  // LayerNorm only
  float eps = 0.0f, offset = 0.0f;
  float* y = nullptr;
};
void RmsNorm(const Exec& exec, const NormArgs& args);
void LayerNorm(const Exec& exec, const NormArgs& args);  // subtracts the mean first

// y may be x; -inf allowed, and a row of nothing else gives zeros.
void Softmax(const Exec& exec, const float* x, int64_t rows, int64_t dim, float* y);

// y[i] = act(x[i]); y may be x.
void Activate(const Exec& exec, Activation act, const float* x, int64_t count, float* y);
// y = act(gate) * up over rows of dim with row strides (gate and up may be two halves of one row).
void GatedActivate(const Exec& exec, Activation act, const float* gate, int64_t gate_stride,
                   const float* up, int64_t up_stride, int64_t rows, int64_t dim, float* y,
                   int64_t y_stride);

// clang-format off
enum class Unary : uint8_t {
  kExp, kLog, kSqrt, kRsqrt, kNeg, kAbs, kSin, kCos, kSoftplus, kErf, kReciprocal, kSquare
};
// clang-format on
void ApplyUnary(const Exec& exec, Unary op, const float* x, int64_t count, float* y);

enum class Binary : uint8_t { kAdd, kSub, kMul, kDiv, kMax, kMin, kPow };
// y[r, c] = a[r, c] op b[r * b_row + c * b_col]: strides 0 or 1 (b_col), any (a_row, b_row); y
// contiguous. Covers equal shapes, a row vector (b_row = 0), a column (b_col = 0) and a scalar
// (both 0).
void ApplyBinary(const Exec& exec, Binary op, const float* a, int64_t a_row, int64_t a_col,
                 const float* b, int64_t b_row, int64_t b_col, int64_t rows, int64_t cols,
                 float* y);

// ---- recurrences ----

// S ← exp(decay)·S + k·uᵀ, y = Sᵀ·q for each token, u = v or (beta given) beta·(v - Sᵀ·k). q, k
// [batch, seq, key_heads, dim]; v, y [batch, seq, heads, width]; decay [batch, seq, heads, rates]
// with rates 1 or dim; beta [batch, seq, heads]; before, state [batch, heads, dim, width].
struct LinearAttentionArgs {
  int64_t batch = 1, seq = 1, heads = 1, key_heads = 1, dim = 0, width = 0, rates = 1;
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  const float* decay = nullptr;
  const float* beta = nullptr;
  const float* before = nullptr;
  float* y = nullptr;
  float* state = nullptr;
};
int64_t LinearAttentionScratchBytes(const Exec& exec, int64_t dim);
void LinearAttention(const Exec& exec, const LinearAttentionArgs& args, void* scratch);

// ---- plain matrices and convolution ----

// c[n] = a[n] · b[n] (or bᵀ): a [m, k] stride lda; b [k, n] stride ldb, or [n, k] when transpose_b;
// c [m, n] ldc.
struct MatMulArgs {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  int64_t lda = 0, ldb = 0, ldc = 0, a_batch = 0, b_batch = 0, c_batch = 0;
  bool transpose_b = false;
};
size_t MatMulScratchBytes(const Exec& exec, const MatMulArgs& args);
void MatMul(const Exec& exec, const MatMulArgs& args, void* scratch);

// y[b, o, oh, ow] = bias[o] + sum w[o, c, kh, kw] x[b, c, ...]; weights plain f32 [out, in/groups,
// kh, kw]. One-dimensional: height = kernel_h = 1. Left and right padding may differ (causal
// convolutions).
struct ConvArgs {
  int64_t batch = 1, in = 0, out = 0, groups = 1;
  int64_t height = 1, width = 1, kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1,
          dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  const float* x = nullptr;
  const float* w = nullptr;
  const float* bias = nullptr;
  float* y = nullptr;
};
int64_t ConvOut(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_both);
size_t ConvScratchBytes(const Exec& exec, const ConvArgs& args);
void Conv(const Exec& exec, const ConvArgs& args, void* scratch);

}  // namespace smelt
