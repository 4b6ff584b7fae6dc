// Reading and writing state, and attention over it.
#include <algorithm>

#include "core/slots.h"
#include "ops/ops.h"
#include "ops/rows.h"

namespace smelt::ops {

// x [batch, heads, seq, dim] goes behind what an append slot holds.
Status CheckAppend(const Call& c) {
  const View& x = *c.in[0];
  SlotState& slot = c.Slot(0);
  Heads heads;
  SMELT_TRY(Want(slot.append() && x.slot < 0 && AsHeads(x, &heads) && x.dims[1] == slot.limits[1] &&
                     x.dims[3] == slot.limits[3] && x.dims[0] <= slot.limits[0],
                 "the entries do not fit the slot"));
  const int64_t rows = slot.window ? slot.window->count : slot.held ? slot.dims[0] : x.dims[0];
  if (rows != x.dims[0]) {
    return Error(Code::kInvalidArgument, "the batch is %lld, state `%s` holds %lld",
                 static_cast<long long>(x.dims[0]), slot.name, static_cast<long long>(rows));
  }
  if (x.dims[2] > slot.most - slot.present()) {
    return Error(Code::kInvalidArgument, "%lld more tokens do not fit: %lld of %lld are used",
                 static_cast<long long>(x.dims[2]), static_cast<long long>(slot.present()),
                 static_cast<long long>(slot.most));
  }
  return Status();
}

Status RunAppend(const Call& c) {
  const View& x = *c.in[0];
  SlotState& slot = c.Slot(0);
  Heads heads;
  SMELT_TRY(CheckAppend(c));
  SMELT_TRY(Want(slot.next < 0, "the slot is appended to twice"));
  AsHeads(x, &heads);
  KvCache cache = slot.cache;
  cache.batch = x.dims[0];
  const StateRows state = slot.window ? slot.window->at : StateRows();
  if (x.count) KvStore(*c.exec, cache, heads, slot.length(), x.dims[2], state);
  slot.next = slot.present() + x.dims[2];
  if (!slot.held && !slot.window) std::copy_n(x.dims, 4, slot.dims), slot.dims[2] = 0;
  return Status();
}

Status CheckWriteState(const Call& c) {
  const View& x = *c.in[0];
  const SlotState& slot = c.Slot(0);
  SMELT_TRY(
      Want(!slot.append() && x.slot < 0 && x.elem == slot.elem() && x.rank == slot.record->rank,
           "the value does not fit"));
  for (int axis = 0; axis < x.rank; ++axis) {
    const bool whole = slot.window && axis > 0;  // a row lies where its number says
    if (x.dims[axis] > slot.limits[axis] || (whole && x.dims[axis] != slot.limits[axis]) ||
        (slot.window && axis == 0 && x.dims[0] != slot.window->count)) {
      return Error(Code::kInvalidArgument, "state `%s` has room for %lld on axis %d, not for %lld",
                   slot.name, static_cast<long long>(slot.limits[axis]), axis,
                   static_cast<long long>(x.dims[axis]));
    }
  }
  return Status();
}

Status RunWriteState(const Call& c) {
  const View& x = *c.in[0];
  SlotState& slot = c.Slot(0);
  View target;
  const bool rows = slot.window != nullptr;
  target.data = slot.data + (rows ? slot.window->at.rows[0] * slot.row_bytes() : 0);
  target.elem = x.elem;
  target.rank = x.rank;
  int64_t stride = 1;
  for (int axis = x.rank - 1; axis >= 0; --axis) {
    target.dims[axis] = x.dims[axis];
    if (!rows) slot.dims[axis] = x.dims[axis];
    target.strides[axis] = stride;
    stride *= x.dims[axis];
  }
  target.count = x.count;
  Call copy = c;
  copy.out[0] = &target;
  slot.next = 0;
  return RunCopy(copy);
}

// All that an append slot holds after this call's append, as f32 [batch, heads, entries, dim].
Status CheckLoadCache(const Call& c) {
  const View &x = *c.in[0], &y = *c.out[0];
  SMELT_TRY(Want(x.slot >= 0 && PlainF32(&y) && SameDims(x, y), "operands do not fit"));
  const SlotState& slot = c.slots[x.slot];
  const bool fits = !slot.window || y.dims[0] == slot.window->count;
  return Want(slot.append() && !slot.ring() && fits, "only a full cache can be read whole");
}

Status RunLoadCache(const Call& c) {
  const View& y = *c.out[0];
  const SlotState& slot = c.slots[c.in[0]->slot];
  KvCache cache = slot.cache;
  cache.batch = y.dims[0];
  const Heads to{y.f32(), y.strides[0], y.strides[1], y.strides[2]};
  const StateRows state = slot.window ? slot.window->at : StateRows();
  if (y.count) KvLoad(*c.exec, cache, 0, y.dims[2], to, state, y.dims[2] - slot.present());
  return Status();
}

namespace {

bool MakeKv(const Call& c, const View& v, KvView* kv) {
  if (v.slot >= 0 && c.slots[v.slot].append()) {
    *kv = ViewOf(c.slots[v.slot].cache);
    return true;
  }
  Heads heads;
  if (!AsHeads(v, &heads)) return false;
  kv->data = heads.data;
  kv->batch = heads.batch, kv->head = heads.head, kv->token = heads.token;
  return true;
}

// in: q k v mask bias sinks; words: scale softcap causal window bf16
Status MakeAttention(const Call& c, AttentionArgs* args) {
  const View &q = *c.in[0], &k = *c.in[1], &v = *c.in[2], &y = *c.out[0];
  const View *mask = c.in[3], *bias = c.in[4], *sinks = c.in[5];
  SMELT_TRY(Want(AsHeads(q, &args->q) && AsHeads(y, &args->out) && k.rank == 4 && v.rank == 4 &&
                     MakeKv(c, k, &args->k) && MakeKv(c, v, &args->v),
                 "operands are not [batch, heads, tokens, dim]"));
  args->batch = q.dims[0], args->heads = q.dims[1], args->queries = q.dims[2],
  args->dim = q.dims[3];
  args->kv_heads = k.dims[1], args->keys = k.dims[2], args->value_dim = v.dims[3];
  SMELT_TRY(Want(
      k.dims[0] == args->batch && v.dims[0] == args->batch && v.dims[1] == args->kv_heads &&
          v.dims[2] == args->keys && k.dims[3] == args->dim && args->kv_heads > 0 &&
          args->heads % args->kv_heads == 0 && y.dims[0] == args->batch &&
          y.dims[1] == args->heads && y.dims[2] == args->queries && y.dims[3] == args->value_dim &&
          args->dim > 0 && args->dim <= 512 && args->value_dim > 0 && args->value_dim <= 512,
      "sizes do not fit"));
  if (c.window && c.window->count) {  // OpenRows has seen that keys are as many as entries
    const bool cached = k.slot >= 0 && c.slots[k.slot].append();
    SMELT_TRY(Want(cached == (v.slot >= 0 && c.slots[v.slot].append()) &&
                       args->batch == c.window->count &&
                       args->keys == c.window->longest + args->queries,
                   "rows of several lengths do not fit"));
    args->state = {cached ? c.window->at.rows : nullptr, c.window->at.lengths};
  }
  args->scale = c.Float(0), args->softcap = c.Float(1);
  args->causal = c.Word(2) != 0;
  args->window = c.Word(3);
  args->bf16 = c.Word(4) != 0;
  if (mask) {
    const bool good = mask->rank == 2 && mask->elem == Elem::kBool &&
                      (mask->dims[0] == 1 || mask->dims[0] == args->batch) &&
                      mask->dims[1] >= args->keys && (mask->dims[1] == 1 || mask->strides[1] == 1);
    SMELT_TRY(Want(good && (!args->state.lengths || mask->dims[1] == args->keys),
                   "the mask does not fit"));
    args->mask = mask->data ? mask->data + (mask->dims[1] - args->keys) : nullptr;
    args->mask_batch = mask->dims[0] == 1 ? 0 : mask->strides[0];
  }
  if (bias) {
    int64_t strides[4] = {};
    const int64_t wants[4] = {args->batch, args->heads, args->queries, args->keys};
    bool good =
        bias->elem == Elem::kF32 && bias->rank <= 4 && bias->rank > 0 && bias->last() == args->keys;
    for (int axis = 0; good && axis < bias->rank; ++axis) {
      const int full = axis + 4 - bias->rank;
      good = bias->dims[axis] == 1 || bias->dims[axis] == wants[full];
      strides[full] = bias->dims[axis] == 1 ? 0 : bias->strides[axis];
    }
    SMELT_TRY(Want(good && (args->keys <= 1 || strides[3] == 1), "the bias does not fit"));
    args->bias = bias->f32();
    args->bias_batch = strides[0], args->bias_head = strides[1], args->bias_query = strides[2];
  }
  SMELT_TRY(Want(IsVector(sinks, args->heads), "the sinks do not fit"));
  args->sinks = sinks ? sinks->f32() : nullptr;
  return Status();
}

}  // namespace

Status CheckAttention(const Call& c) {
  AttentionArgs args;
  return MakeAttention(c, &args);
}
int64_t ScratchAttention(const Call& c) {
  AttentionArgs args;
  return MakeAttention(c, &args).ok() ? static_cast<int64_t>(AttentionScratchBytes(*c.exec, args))
                                      : 0;
}
Status RunAttention(const Call& c) {
  AttentionArgs args;
  SMELT_TRY(MakeAttention(c, &args));
  if (c.out[0]->count) Attention(*c.exec, args, c.scratch);
  return Status();
}

}  // namespace smelt::ops
