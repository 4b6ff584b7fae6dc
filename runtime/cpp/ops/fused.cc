// Norms, activations, rotary positions, quantization of activations: one kernel call each.
#include <cmath>

#include "ops/ops.h"
#include "ops/rows.h"

namespace smelt::ops {
namespace {

// x, y of one shape; weight and bias over the last axis.
Status CheckNorm(const View& x, const View* weight, const View* bias, const View& y) {
  return Want(PlainF32(&x) && PlainF32(&y) && SameDims(x, y) && x.rank > 0 && x.last() > 0 &&
                  IsVector(weight, x.last()) && IsVector(bias, x.last()),
              "operands do not fit");
}

NormArgs MakeNorm(const Call& c, const View& x, const View* weight, const View& y) {
  NormArgs args;
  args.dim = x.last();
  args.rows = x.count / args.dim;
  args.x = x.f32();
  args.weight = weight ? weight->f32() : nullptr;
  args.eps = c.Float(0);
  args.y = y.f32();
  return args;
}

Status CheckAdd(const Call& c) {
  return Want(PlainF32(c.in[1]) && SameDims(*c.in[0], *c.in[1]) && PlainF32(c.out[0]) &&
                  SameDims(*c.in[0], *c.out[0]),
              "the two terms differ");
}

}  // namespace

Status CheckRmsNorm(const Call& c) { return CheckNorm(*c.in[0], c.in[1], nullptr, *c.out[0]); }
Status RunRmsNorm(const Call& c) {
  NormArgs args = MakeNorm(c, *c.in[0], c.in[1], *c.out[0]);
  args.offset = c.Float(1);
  if (args.rows) RmsNorm(*c.exec, args);
  return Status();
}

Status CheckLayerNorm(const Call& c) { return CheckNorm(*c.in[0], c.in[1], c.in[2], *c.out[0]); }
Status RunLayerNorm(const Call& c) {
  NormArgs args = MakeNorm(c, *c.in[0], c.in[1], *c.out[0]);
  args.bias = c.in[2] ? c.in[2]->f32() : nullptr;
  if (args.rows) LayerNorm(*c.exec, args);
  return Status();
}

Status CheckAddRmsNorm(const Call& c) {
  SMELT_TRY(CheckAdd(c));
  return CheckNorm(*c.in[0], c.in[2], nullptr, *c.out[1]);
}
Status RunAddRmsNorm(const Call& c) {
  NormArgs args = MakeNorm(c, *c.in[0], c.in[2], *c.out[1]);
  args.offset = c.Float(1);
  args.add = c.in[1]->f32();
  args.sum = c.out[0]->f32();
  if (args.rows) RmsNorm(*c.exec, args);
  return Status();
}

Status CheckAddLayerNorm(const Call& c) {
  SMELT_TRY(CheckAdd(c));
  return CheckNorm(*c.in[0], c.in[2], c.in[3], *c.out[1]);
}
Status RunAddLayerNorm(const Call& c) {
  NormArgs args = MakeNorm(c, *c.in[0], c.in[2], *c.out[1]);
  args.bias = c.in[3] ? c.in[3]->f32() : nullptr;
  args.add = c.in[1]->f32();
  args.sum = c.out[0]->f32();
  if (args.rows) LayerNorm(*c.exec, args);
  return Status();
}

Status CheckActivate(const Call& c) {
  return Want(PlainF32(c.in[0]) && PlainF32(c.out[0]) && SameDims(*c.in[0], *c.out[0]) &&
                  IsActivation(c.Word(0)),
              "operands are not plain f32");
}
Status RunActivate(const Call& c) {
  if (c.in[0]->count) {
    Activate(*c.exec, static_cast<Activation>(c.Word(0)), c.in[0]->f32(), c.in[0]->count,
             c.out[0]->f32());
  }
  return Status();
}

Status CheckGatedActivate(const Call& c) {
  Rows gate, up, out;
  return Want(AsRows(*c.in[0], &gate) && AsRows(*c.in[1], &up) && AsRows(*c.out[0], &out) &&
                  SameDims(*c.in[0], *c.out[0]) && SameDims(*c.in[1], *c.out[0]) &&
                  IsActivation(c.Word(0)),
              "operands do not fit");
}
Status RunGatedActivate(const Call& c) {
  Rows gate, up, out;
  AsRows(*c.in[0], &gate), AsRows(*c.in[1], &up), AsRows(*c.out[0], &out);
  if (c.out[0]->count) {
    GatedActivate(*c.exec, static_cast<Activation>(c.Word(0)), c.in[0]->f32(), gate.stride,
                  c.in[1]->f32(), up.stride, out.count, c.out[0]->last(), c.out[0]->f32(),
                  out.stride);
  }
  return Status();
}

// x [batch, heads, seq, dim]; cos, sin [batch|1, seq, pairs].
Status CheckRope(const Call& c) {
  const View &x = *c.in[0], &cos = *c.in[1], &sin = *c.in[2], &y = *c.out[0];
  Heads from, to;
  return Want(AsHeads(x, &from) && AsHeads(y, &to) && SameDims(x, y) && PlainF32(&cos) &&
                  PlainF32(&sin) && SameDims(cos, sin) && cos.rank == 3 &&
                  (cos.dims[0] == 1 || cos.dims[0] == x.dims[0]) && cos.dims[1] == x.dims[2] &&
                  cos.dims[2] * 2 <= x.dims[3] && c.Word(0) <= 1,
              "operands do not fit");
}
Status RunRope(const Call& c) {
  const View &x = *c.in[0], &cos = *c.in[1];
  RopeArgs args;
  AsHeads(x, &args.x), AsHeads(*c.out[0], &args.y);
  args.batch = x.dims[0], args.heads = x.dims[1], args.tokens = x.dims[2], args.dim = x.dims[3];
  args.rotary = 2 * cos.dims[2];
  args.cos = cos.f32(), args.sin = c.in[2]->f32();
  args.table_batch = cos.dims[0] == 1 ? 0 : cos.strides[0];
  args.table_token = cos.dims[2];
  args.interleaved = c.Word(0) != 0;
  if (x.count) Rope(*c.exec, args);
  return Status();
}

// x [.., groups * group] -> codes i8 [.., groups, group], scales f32 [.., groups, 1].
Status CheckQuantize(const Call& c) {
  const View &x = *c.in[0], &q = *c.out[0], &s = *c.out[1];
  const int64_t group = c.Word(0);
  Rows rows;
  return Want(group > 0 && AsRows(x, &rows) && x.last() > 0 && x.last() % group == 0 &&
                  q.elem == Elem::kI8 && q.contiguous && q.count == x.count && PlainF32(&s) &&
                  s.count * group == x.count,
              "operands do not fit");
}
Status RunQuantize(const Call& c) {
  const View& x = *c.in[0];
  Rows rows;
  AsRows(x, &rows);
  if (x.count) {
    QuantizeRows(*c.exec, x.f32(), rows.stride, rows.count, x.last(),
                 static_cast<int32_t>(c.Word(0)), c.out[0]->as<int8_t>(), c.out[1]->f32());
  }
  return Status();
}

}  // namespace smelt::ops
