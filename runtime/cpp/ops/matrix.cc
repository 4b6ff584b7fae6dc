// Products with packed weights, plain matrix products, convolutions, scans.
#include <cmath>

#include "core/checked.h"
#include "ops/ops.h"
#include "ops/rows.h"

namespace smelt::ops {
namespace {

bool InputFits(uint32_t word, const PackedMatrix& w) {
  switch (word) {
    case static_cast<uint32_t>(smelt::Input::kF32):
      return true;
    case static_cast<uint32_t>(smelt::Input::kBf16):
      return w.shape.format == Format::kBf16;
    case static_cast<uint32_t>(smelt::Input::kInt8):
    case static_cast<uint32_t>(smelt::Input::kInt8x2):
      return w.shape.format >= Format::kInt8;
    default:
      return false;
  }
}

// Products of sizes that kernels form stay far from 2^63.
bool IsModest(int64_t a, int64_t b) {
  int64_t product;
  return CheckedMul(a, b, &product) && product <= kMaxBytes;
}

// Operand positions: linear x w bias residual; gated_linear x w w2 bias bias2, where without w2 the
// first half of w's rows is the gate and the second is up, and bias likewise.
Status MakeLinear(const Call& c, bool gated, LinearArgs* args) {
  const View &x = *c.in[0], &y = *c.out[0];
  const View* bias = c.in[gated ? 3 : 2];
  const bool halves = gated && !c.in[2];
  Rows rows, out;
  SMELT_TRY(
      Want(c.in[1]->packed && (!gated || halves || c.in[2]->packed), "the weight is not packed"));
  args->w = *c.in[1]->packed;
  const int64_t all = args->w.shape.rows, width = halves ? all / 2 : all;
  SMELT_TRY(Want(!halves || width * 2 == all, "the weight has no two halves"));
  SMELT_TRY(Want(!halves || width % 16 == 0, "the weight's halves are not whole panels"));
  SMELT_TRY(Want(AsRows(x, &rows) && AsRows(y, &out) && rows.count == out.count &&
                     x.rank == y.rank && x.last() == args->w.shape.cols && y.last() == width,
                 "operands do not fit the weight"));
  SMELT_TRY(Want(IsVector(bias, all) && IsActivation(c.Word(0)) && InputFits(c.Word(1), args->w),
                 "bias, activation or input form do not fit"));
  SMELT_TRY(Want(IsModest(rows.count, args->w.shape.cols), "the input is too large"));
  args->act = static_cast<Activation>(c.Word(0));
  args->input = static_cast<smelt::Input>(c.Word(1));
  args->rows = rows.count;
  args->x = x.f32();
  args->x_stride = rows.stride;
  args->y = y.f32();
  args->y_stride = out.stride;
  args->bias = bias ? bias->f32() : nullptr;
  const View* other = c.in[gated ? 4 : 3];
  if (halves) {
    SMELT_TRY(Want(!other, "there is no second bias"));
    args->w2 = RowsOf(args->w, width, width);
    args->w = RowsOf(args->w, 0, width);
    args->bias2 = args->bias ? args->bias + width : nullptr;
  } else if (gated) {
    args->w2 = *c.in[2]->packed;
    const PackedShape &shape = args->w.shape, &second = args->w2.shape;
    SMELT_TRY(Want(second.format == shape.format && second.rows == shape.rows &&
                       second.cols == shape.cols && second.group == shape.group &&
                       second.symmetric == shape.symmetric && IsVector(other, shape.rows),
                   "the two weights differ"));
    args->bias2 = other ? other->f32() : nullptr;
  } else if (other) {
    Rows residual;
    SMELT_TRY(Want(AsRows(*other, &residual) && SameDims(*other, y),
                   "the residual differs from the result"));
    args->residual = other->f32();
    args->residual_stride = residual.stride;
  }
  return Status();
}

int64_t LinearScratch(const Call& c, bool gated) {
  LinearArgs args;
  if (!MakeLinear(c, gated, &args).ok()) return 0;
  return static_cast<int64_t>(LinearScratchBytes(*c.exec, args.w.shape, args.input, args.rows));
}

Status RunAnyLinear(const Call& c, bool gated) {
  LinearArgs args;
  SMELT_TRY(MakeLinear(c, gated, &args));
  if (args.rows) Linear(*c.exec, args, c.scratch);
  return Status();
}

}  // namespace

Status CheckLinear(const Call& c) {
  LinearArgs args;
  return MakeLinear(c, false, &args);
}
int64_t ScratchLinear(const Call& c) { return LinearScratch(c, false); }
Status RunLinear(const Call& c) { return RunAnyLinear(c, false); }

Status CheckGatedLinear(const Call& c) {
  LinearArgs args;
  return MakeLinear(c, true, &args);
}
int64_t ScratchGatedLinear(const Call& c) { return LinearScratch(c, true); }
Status RunGatedLinear(const Call& c) { return RunAnyLinear(c, true); }

// x [.., in] spread over indices [..]; weight [experts, out, in]; bias [experts, out].
Status CheckGroupedLinear(const Call& c) {
  const View &x = *c.in[0], &w = *c.in[1], &ids = *c.in[2], &y = *c.out[0];
  const View* bias = c.in[3];
  SMELT_TRY(Want(w.packed && w.rank == 3, "the weight is not packed by expert"));
  const PackedShape& shape = w.packed->shape;
  bool good = PlainF32(&x) && x.rank >= 1 && x.last() == shape.cols && PlainF32(&y) &&
              y.last() == shape.rows && ids.elem == Elem::kI64 && ids.contiguous &&
              y.rank == ids.rank + 1 && x.rank <= y.rank;
  for (int a = 0; good && a < ids.rank; ++a) good = ids.dims[a] == y.dims[a];
  for (int a = 0; good && a < x.rank - 1; ++a) {
    good = x.dims[a] == 1 || x.dims[a] == ids.dims[a + ids.rank - (x.rank - 1)];
  }
  return Want(good && ids.count < INT32_MAX && x.count < INT32_MAX &&
                  IsVector(bias, w.dims[0] * shape.rows) && IsActivation(c.Word(0)) &&
                  InputFits(c.Word(1), *w.packed) && IsModest(ids.count, shape.cols),
              "operands do not fit");
}

int64_t ScratchGroupedLinear(const Call& c) {
  const View& w = *c.in[1];
  const int64_t rows = c.in[2]->count;
  return 2 * AlignUp(rows * 4) +
         static_cast<int64_t>(GroupedLinearScratchBytes(
             *c.exec, w.packed->shape, static_cast<smelt::Input>(c.Word(1)), rows, w.dims[0]));
}

Status RunGroupedLinear(const Call& c) {
  const View &x = *c.in[0], &w = *c.in[1], &ids = *c.in[2], &y = *c.out[0];
  const int64_t rows = ids.count;
  if (rows == 0) return Status();
  int32_t* experts = reinterpret_cast<int32_t*>(c.scratch);
  int32_t* source = reinterpret_cast<int32_t*>(c.scratch + AlignUp(rows * 4));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t expert = ids.as<int64_t>()[i];
    if (expert < 0 || expert >= w.dims[0]) {
      return Error(Code::kOutOfRange, "expert %lld is outside %lld", static_cast<long long>(expert),
                   static_cast<long long>(w.dims[0]));
    }
    experts[i] = static_cast<int32_t>(expert);
    int64_t rest = i, row = 0, step = 1;
    for (int a = ids.rank - 1; a >= 0; --a) {
      const int own = a - (ids.rank - (x.rank - 1));
      const int64_t index = rest % ids.dims[a];
      rest /= ids.dims[a];
      if (own < 0) continue;
      if (x.dims[own] != 1) row += index * step;
      step *= x.dims[own];
    }
    source[i] = static_cast<int32_t>(row);
  }
  GroupedLinearArgs args;
  args.linear.w = *w.packed;
  args.linear.act = static_cast<Activation>(c.Word(0));
  args.linear.input = static_cast<smelt::Input>(c.Word(1));
  args.linear.bias = c.in[3] ? c.in[3]->f32() : nullptr;
  args.linear.rows = rows;
  args.linear.x = x.f32();
  args.linear.x_stride = x.last();
  args.linear.y = y.f32();
  args.linear.y_stride = y.last();
  args.count = w.dims[0];
  args.expert_bytes = w.packed_bytes;
  args.experts = experts;
  args.source = source;
  GroupedLinear(*c.exec, args, c.scratch + 2 * AlignUp(rows * 4));
  return Status();
}

namespace {

// The last two axes for the kernel; leading axes are walked by the caller.
Status MakeMatMul(const Call& c, MatMulArgs* args) {
  const View &a = *c.in[0], &b = *c.in[1], &y = *c.out[0];
  SMELT_TRY(Want(a.elem == Elem::kF32 && b.elem == Elem::kF32 && y.elem == Elem::kF32 &&
                     a.rank >= 2 && b.rank >= 2 && y.rank >= 2,
                 "operands are not f32 matrices"));
  args->m = y.dims[y.rank - 2];
  args->n = y.dims[y.rank - 1];
  args->k = a.dims[a.rank - 1];
  SMELT_TRY(Want(a.dims[a.rank - 2] == args->m && b.dims[b.rank - 2] == args->k &&
                     b.dims[b.rank - 1] == args->n,
                 "inner sizes differ"));
  SMELT_TRY(Want(IsModest(y.count, args->k), "the product is too large"));
  View lead_a = a, lead_b = b, lead_y = y;
  lead_a.rank -= 2, lead_b.rank -= 2, lead_y.rank -= 2;
  SMELT_TRY(Want(Spreads(lead_a, lead_y) && Spreads(lead_b, lead_y), "leading sizes differ"));
  args->lda = a.strides[a.rank - 2];
  args->ldc = y.strides[y.rank - 2];
  const int64_t down = b.strides[b.rank - 2], right = b.strides[b.rank - 1];
  args->transpose_b = right != 1 && args->n > 1;
  args->ldb = args->transpose_b ? right : down;
  const bool dense = (args->k <= 1 || a.strides[a.rank - 1] == 1) &&
                     (args->n <= 1 || y.strides[y.rank - 1] == 1) &&
                     (!args->transpose_b || args->k <= 1 || down == 1);
  return Want(dense, "the last axis is not dense");
}

}  // namespace

Status CheckMatMul(const Call& c) {
  MatMulArgs args;
  return MakeMatMul(c, &args);
}

int64_t ScratchMatMul(const Call& c) {
  MatMulArgs args;
  if (!MakeMatMul(c, &args).ok()) return 0;
  args.batch = 1;
  for (int axis = 0; axis < c.out[0]->rank - 2; ++axis) args.batch *= c.out[0]->dims[axis];
  return static_cast<int64_t>(MatMulScratchBytes(*c.exec, args));
}

Status RunMatMul(const Call& c) {
  MatMulArgs args;
  SMELT_TRY(MakeMatMul(c, &args));
  View a = *c.in[0], b = *c.in[1], y = *c.out[0];
  if (y.count == 0) return Status();
  a.rank -= 2, b.rank -= 2, y.rank -= 2;
  const View* const views[3] = {&y, &a, &b};
  const Loop<3> loop = JoinAxes(views);
  const int last = loop.rank - 1;
  args.batch = loop.dims[last];
  args.c_batch = loop.strides[0][last];
  args.a_batch = loop.strides[1][last];
  args.b_batch = loop.strides[2][last];
  int64_t outer = 1;
  for (int axis = 0; axis < last; ++axis) outer *= loop.dims[axis];
  for (int64_t i = 0; i < outer; ++i) {
    int64_t at[3] = {}, rest = i;
    for (int axis = last - 1; axis >= 0; --axis) {
      const int64_t index = rest % loop.dims[axis];
      rest /= loop.dims[axis];
      for (int v = 0; v < 3; ++v) at[v] += index * loop.strides[v][axis];
    }
    args.c = y.f32() + at[0];
    args.a = a.f32() + at[1];
    args.b = b.f32() + at[2];
    MatMul(*c.exec, args, c.scratch);
  }
  return Status();
}

namespace {

// words: stride h w, dilation h w, padding top bottom left right, groups; rank 3 has height 1.
Status MakeConv(const Call& c, ConvArgs* args) {
  const View &x = *c.in[0], &w = *c.in[1], &y = *c.out[0];
  SMELT_TRY(Want(PlainF32(&x) && PlainF32(&w) && PlainF32(&y) && (x.rank == 3 || x.rank == 4) &&
                     w.rank == x.rank && y.rank == x.rank,
                 "operands are not plain f32 of rank 3 or 4"));
  for (int i = 0; i < 9; ++i) {
    SMELT_TRY(Want(c.Word(i) < (1u << 20) && (c.Word(i) > 0 || (i >= 4 && i < 8)),
                   "a parameter is out of range"));
  }
  const bool flat = x.rank == 3;
  args->batch = x.dims[0];
  args->in = x.dims[1];
  args->out = w.dims[0];
  args->groups = c.Word(8);
  args->height = flat ? 1 : x.dims[2];
  args->width = x.last();
  args->kernel_h = flat ? 1 : w.dims[2];
  args->kernel_w = w.last();
  args->stride_h = c.Word(0), args->stride_w = c.Word(1);
  args->dilation_h = c.Word(2), args->dilation_w = c.Word(3);
  args->pad_top = c.Word(4), args->pad_bottom = c.Word(5), args->pad_left = c.Word(6),
  args->pad_right = c.Word(7);
  SMELT_TRY(Want(args->kernel_h > 0 && args->kernel_w > 0 && args->kernel_h < (1 << 20) &&
                     args->kernel_w < (1 << 20) && args->in > 0 && args->out > 0 &&
                     args->out % args->groups == 0 && w.dims[1] * args->groups == args->in &&
                     y.dims[0] == args->batch && y.dims[1] == args->out &&
                     IsVector(c.in[2], args->out),
                 "channels or kernel do not fit"));
  const int64_t high =
      args->height + args->pad_top + args->pad_bottom - args->dilation_h * (args->kernel_h - 1);
  const int64_t wide =
      args->width + args->pad_left + args->pad_right - args->dilation_w * (args->kernel_w - 1);
  SMELT_TRY(Want(high > 0 && wide > 0 &&
                     (flat ? (high - 1) / args->stride_h + 1 == 1
                           : (high - 1) / args->stride_h + 1 == y.dims[2]) &&
                     (wide - 1) / args->stride_w + 1 == y.last(),
                 "the result has the wrong size"));
  args->x = x.f32();
  args->w = w.f32();
  args->bias = c.in[2] ? c.in[2]->f32() : nullptr;
  args->y = y.f32();
  return Status();
}

}  // namespace

Status CheckConv(const Call& c) {
  ConvArgs args;
  return MakeConv(c, &args);
}
int64_t ScratchConv(const Call& c) {
  ConvArgs args;
  return MakeConv(c, &args).ok() ? static_cast<int64_t>(ConvScratchBytes(*c.exec, args)) : 0;
}
Status RunConv(const Call& c) {
  ConvArgs args;
  SMELT_TRY(MakeConv(c, &args));
  if (c.out[0]->count) Conv(*c.exec, args, c.scratch);
  return Status();
}

// x, delta [batch, seq, inner]; a [inner, n]; b, c [batch, seq, n]; state [batch, inner, n] -> y,
// state.
Status CheckSelectiveScan(const Call& call) {
  for (int i = 0; i < 6; ++i) SMELT_TRY(Want(PlainF32(call.in[i]), "operands are not plain f32"));
  const View &x = *call.in[0], &a = *call.in[2], &b = *call.in[3], &state = *call.in[5];
  return Want(x.rank == 3 && SameDims(x, *call.in[1]) && a.rank == 2 && a.dims[0] == x.dims[2] &&
                  b.rank == 3 && SameDims(b, *call.in[4]) && b.dims[0] == x.dims[0] &&
                  b.dims[1] == x.dims[1] && b.dims[2] == a.dims[1] && state.rank == 3 &&
                  state.dims[0] == x.dims[0] && state.dims[1] == x.dims[2] &&
                  state.dims[2] == a.dims[1] && PlainF32(call.out[0]) &&
                  SameDims(x, *call.out[0]) && PlainF32(call.out[1]) &&
                  SameDims(state, *call.out[1]),
              "operands do not fit");
}

Status RunSelectiveScan(const Call& call) {
  const View& x = *call.in[0];
  const int64_t batch = x.dims[0], seq = x.dims[1], inner = x.dims[2], n = call.in[2]->dims[1];
  ParallelFor(call.exec->pool, batch * inner, [&](int64_t task, int) {
    const int64_t row = task / inner, channel = task % inner;
    const float* a = call.in[2]->f32() + channel * n;
    float* h = call.out[1]->f32() + task * n;
    std::copy_n(call.in[5]->f32() + task * n, n, h);
    for (int64_t t = 0; t < seq; ++t) {
      const int64_t at = (row * seq + t) * inner + channel;
      const float step = call.in[1]->f32()[at], grown = step * x.f32()[at];
      const float* b = call.in[3]->f32() + (row * seq + t) * n;
      const float* c = call.in[4]->f32() + (row * seq + t) * n;
      float y = 0.0f;
      for (int64_t i = 0; i < n; ++i) {
        h[i] = std::exp(step * a[i]) * h[i] + grown * b[i];
        y += c[i] * h[i];
      }
      call.out[0]->f32()[at] = y;
    }
  });
  return Status();
}

Status CheckUnpack(const Call& c) {
  const View &w = *c.in[0], &y = *c.out[0];
  return Want(w.packed && PlainF32(&y) && SameDims(w, y), "operands do not fit");
}

Status RunUnpack(const Call& c) {
  const View &w = *c.in[0], &y = *c.out[0];
  const PackedShape& shape = w.packed->shape;
  const int64_t experts = w.rank == 3 ? w.dims[0] : 1;
  for (int64_t e = 0; e < experts; ++e) {
    Unpack(*c.exec, MatrixAt(shape, w.data + e * w.packed_bytes),
           y.f32() + e * shape.rows * shape.cols);
  }
  return Status();
}

}  // namespace smelt::ops
