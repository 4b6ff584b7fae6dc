// Recurrences along a text, token after token; what is independent of one another runs in parallel.
#include <algorithm>

#include "ops/loop.h"
#include "ops/ops.h"

namespace smelt::ops {

// x, decay, state before the first token; the word is 1 for the largest, 0 for the sum.
Status CheckRecurrence(const Call& c) {
  for (int i = 0; i < 3; ++i) SMELT_TRY(Want(PlainF32(c.in[i]), "operands are not plain f32"));
  const View &x = *c.in[0], &state = *c.in[2], &y = *c.out[0];
  return Want(x.rank >= 3 && SameDims(x, *c.in[1]) && PlainF32(&y) && SameDims(x, y) &&
                  state.rank == x.rank - 1 && state.dims[0] == x.dims[0] &&
                  std::equal(state.dims + 1, state.dims + state.rank, x.dims + 2) && c.Word(0) <= 1,
              "operands do not fit");
}

Status RunRecurrence(const Call& c) {
  const View &x = *c.in[0], &state = *c.in[2];
  if (x.count == 0) return Status();
  const int64_t batch = x.dims[0], seq = x.dims[1], width = state.count / batch;
  const bool is_max = c.Word(0) == 1;
  constexpr int64_t kGrain = 256;
  const int64_t pieces = (width + kGrain - 1) / kGrain;
  ParallelFor(c.exec->pool, batch * pieces, [&](int64_t task, int) {
    const int64_t row = task / pieces, start = task % pieces * kGrain;
    const int64_t count = std::min(kGrain, width - start);
    const float* last = state.f32() + row * width + start;
    for (int64_t t = 0; t < seq; ++t) {
      const int64_t at = (row * seq + t) * width + start;
      const float *value = x.f32() + at, *decay = c.in[1]->f32() + at;
      float* y = c.out[0]->f32() + at;
      if (is_max) {
        for (int64_t i = 0; i < count; ++i) y[i] = std::max(last[i] + decay[i], value[i]);
      } else {
        for (int64_t i = 0; i < count; ++i) y[i] = decay[i] * last[i] + value[i];
      }
      last = y;
    }
  });
  return Status();
}

// q, k, v, decay, beta or nothing, state before the first token; gives y and the last state.
Status CheckLinearAttention(const Call& c) {
  for (int i = 0; i < 6; ++i) {
    if (i == 4 && !c.in[i]) continue;
    SMELT_TRY(Want(PlainF32(c.in[i]), "operands are not plain f32"));
  }
  const View &k = *c.in[1], &v = *c.in[2], &decay = *c.in[3], &state = *c.in[5];
  SMELT_TRY(Want(k.rank == 4 && v.rank == 4 && decay.rank == 4 && state.rank == 4 &&
                     SameDims(*c.in[0], k) && std::equal(k.dims, k.dims + 2, v.dims) &&
                     k.dims[2] > 0 && v.dims[2] % k.dims[2] == 0,
                 "queries, keys and values do not fit"));
  const View* beta = c.in[4];
  SMELT_TRY(Want(!beta || (beta->rank == 3 && std::equal(v.dims, v.dims + 3, beta->dims)),
                 "beta does not fit"));
  return Want(std::equal(v.dims, v.dims + 3, decay.dims) &&
                  (decay.dims[3] == 1 || decay.dims[3] == k.dims[3]) &&
                  state.dims[0] == v.dims[0] && state.dims[1] == v.dims[2] &&
                  state.dims[2] == k.dims[3] && state.dims[3] == v.dims[3] && PlainF32(c.out[0]) &&
                  SameDims(v, *c.out[0]) && PlainF32(c.out[1]) && SameDims(state, *c.out[1]),
              "operands do not fit");
}

int64_t ScratchLinearAttention(const Call& c) {
  return LinearAttentionScratchBytes(*c.exec, c.in[1]->last());
}

Status RunLinearAttention(const Call& c) {
  const View &k = *c.in[1], &v = *c.in[2];
  LinearAttentionArgs args;
  args.batch = v.dims[0], args.seq = v.dims[1], args.heads = v.dims[2], args.width = v.dims[3];
  args.key_heads = k.dims[2], args.dim = k.dims[3], args.rates = c.in[3]->dims[3];
  args.q = c.in[0]->f32(), args.k = k.f32(), args.v = v.f32(), args.decay = c.in[3]->f32();
  args.beta = c.in[4] ? c.in[4]->f32() : nullptr;
  args.before = c.in[5]->f32(), args.y = c.out[0]->f32(), args.state = c.out[1]->f32();
  LinearAttention(*c.exec, args, c.scratch);
  return Status();
}

}  // namespace smelt::ops
