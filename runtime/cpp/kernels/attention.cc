// Attention and the KV cache: cuts batches, heads, queries and keys into tasks.
#include "isa.h"

namespace smelt {
namespace {

constexpr int64_t kBlockRows = 64;  // (token, head) rows of a prefill block
constexpr int64_t kDecodeRows =
    12;  // at most this many rows a key head: channels in the lanes, keys split
constexpr int64_t kChunkKeys = 256;  // keys of a decode task, more when there would be too many
constexpr int64_t kMostChunks = 64;

bool IsDecode(const AttentionArgs& a) {
  return a.queries == 1 || a.queries * (a.heads / a.kv_heads) <= kDecodeRows;
}

int64_t TokensPerBlock(const AttentionArgs& a) {
  const int64_t group = a.heads / a.kv_heads, tokens = kBlockRows / group;
  const int64_t bounded = tokens < 1 ? 1 : tokens;
  return bounded < a.queries ? bounded : a.queries;
}

int64_t ChunkKeys(int64_t keys) {
  const int64_t spread = RoundUp(CeilDiv(keys, kMostChunks), 16);
  return spread > kChunkKeys ? spread : kChunkKeys;
}

int64_t PartialFloats(const AttentionArgs& a) {
  return RoundUp(a.queries * (a.heads / a.kv_heads) * (RoundUp(a.value_dim, 16) + 2), 16);
}

int64_t MostChunks(int64_t keys) {
  const int64_t chunks = CeilDiv(keys, kChunkKeys);
  return chunks < 1 ? 1 : chunks < kMostChunks ? chunks : kMostChunks;
}

int64_t ThreadFloats(const AttentionArgs& a) {
  const int64_t group = a.heads / a.kv_heads;
  if (IsDecode(a)) return RoundUp(DecodeSizes(a, a.queries * group, ChunkKeys(a.keys)).total, 16);
  return RoundUp(PrefillSizes(a, TokensPerBlock(a) * group).total, 16);
}

// Every key that some query of [first, last) of batch element b may see.
KeyRange Union(const AttentionArgs& a, int64_t b, int64_t first, int64_t last) {
  const KeyRange low = KeysOf(a, b, first), high = KeysOf(a, b, last - 1);
  return {low.first, high.last > low.first ? high.last : low.first};
}

void Prefill(const Exec& exec, const AttentionArgs& a, float* scratch) {
  const KernelTable& table = TableOf(exec.isa);
  const int64_t step = TokensPerBlock(a), blocks = CeilDiv(a.queries, step),
                thread_floats = ThreadFloats(a);
  ParallelFor(exec.pool, a.batch * a.kv_heads * blocks, [&](int64_t task, int thread) {
    const int64_t block =
        blocks - 1 - task / (a.batch * a.kv_heads);  // later queries see more keys: longest first
    const int64_t rest = task % (a.batch * a.kv_heads);
    const int64_t first = block * step, last = first + step < a.queries ? first + step : a.queries;
    const int64_t b = rest / a.kv_heads;
    const KeyRange keys = Union(a, b, first, last);
    table.attend_block({&a, b, rest % a.kv_heads, a.state.RowOf(b), first, last, keys.first,
                        keys.last, scratch + thread * thread_floats, nullptr});
  });
}

// Keys are cut by each element's own number of them, so that a result does not depend on what the
// others hold.
void Decode(const Exec& exec, const AttentionArgs& a, float* scratch) {
  const KernelTable& table = TableOf(exec.isa);
  const int64_t groups = a.batch * a.kv_heads, partial = PartialFloats(a);
  const int64_t most = MostChunks(a.keys), thread_floats = ThreadFloats(a);
  float* partials = scratch + exec.threads() * thread_floats;
  const auto block_of = [&](int64_t group) {
    const int64_t b = group / a.kv_heads;
    return AttentionBlock{&a,
                          b,
                          group % a.kv_heads,
                          a.state.RowOf(b),
                          0,
                          a.queries,
                          0,
                          0,
                          nullptr,
                          partials + group * most * partial};
  };
  int64_t chunks = 0, seen = 0;  // the most of an element; keys of all
  for (int64_t b = 0; b < a.batch; ++b) {
    const KeyRange keys = Union(a, b, 0, a.queries);
    const int64_t count = keys.last - keys.first, own = CeilDiv(count, ChunkKeys(count));
    chunks = own > chunks ? own : chunks;
    seen += count;
  }
  const bool small = seen * a.kv_heads * a.dim <= 16 << 10;  // not worth waking anybody
  ParallelFor(small ? nullptr : exec.pool, groups * chunks, [&](int64_t task, int thread) {
    AttentionBlock block = block_of(task / chunks);
    const KeyRange keys = Union(a, block.b, 0, a.queries);
    const int64_t step = ChunkKeys(keys.last - keys.first), chunk = task % chunks;
    block.key_first = keys.first + chunk * step;
    if (block.key_first >= keys.last) return;
    block.key_last = block.key_first + step < keys.last ? block.key_first + step : keys.last;
    block.scratch = scratch + thread * thread_floats;
    block.partial += chunk * partial;
    table.attend_chunk(block);
  });
  for (int64_t group = 0; group < groups; ++group) {
    const KeyRange keys = Union(a, group / a.kv_heads, 0, a.queries);
    const int64_t count = keys.last - keys.first;
    table.merge_chunks(block_of(group), CeilDiv(count, ChunkKeys(count)), partial);
  }
}

}  // namespace

// Enough for fewer queries as well, so that a plan may ask for the largest shape only.
size_t AttentionScratchBytes(const Exec& exec, const AttentionArgs& a) {
  AttentionArgs few = a;
  const int64_t most = kDecodeRows / (a.heads / a.kv_heads);
  few.queries = most < 1 ? 1 : most < a.queries ? most : a.queries;
  const int64_t partials = a.batch * a.kv_heads * MostChunks(a.keys) * PartialFloats(few);
  const int64_t decode = exec.threads() * ThreadFloats(few) + partials;
  const int64_t prefill = IsDecode(a) ? 0 : exec.threads() * ThreadFloats(a);
  return static_cast<size_t>(RoundUp((decode > prefill ? decode : prefill) * 4, 64));
}

void Attention(const Exec& exec, const AttentionArgs& a, void* scratch) {
  if (a.queries == 0 || a.batch == 0) return;
  if (IsDecode(a)) return Decode(exec, a, static_cast<float*>(scratch));
  Prefill(exec, a, static_cast<float*>(scratch));
}

// ---- the cache ----

namespace {

int64_t ElementBytes(DType dtype) { return dtype == DType::kF32 ? 4 : dtype == DType::kI8 ? 1 : 2; }

}  // namespace

size_t KvDataBytes(DType dtype, int64_t batch, int64_t heads, int64_t capacity, int64_t dim) {
  return static_cast<size_t>(RoundUp(batch * heads * capacity * dim * ElementBytes(dtype), 64));
}

size_t KvScaleBytes(DType dtype, int64_t batch, int64_t heads, int64_t capacity) {
  return dtype == DType::kI8 ? static_cast<size_t>(RoundUp(batch * heads * capacity * 4, 64)) : 0;
}

KvView ViewOf(const KvCache& c) {
  KvView view;
  view.dtype = c.dtype;
  view.data = c.data;
  view.scales = c.scales;
  view.token = c.dim;
  view.head = c.capacity * c.dim;
  view.batch = c.heads * view.head;
  view.scale_head = c.capacity;
  view.scale_batch = c.heads * c.capacity;
  view.ring = c.ring ? c.capacity : 0;
  return view;
}

void KvStore(const Exec& exec, const KvCache& c, const Heads& src, int64_t position, int64_t count,
             const StateRows& state) {
  const KernelTable& table = TableOf(exec.isa);
  const int64_t skip = c.ring && count > c.capacity ? count - c.capacity : 0;
  const int64_t rows = c.batch * c.heads;
  const bool small = rows * (count - skip) * c.dim <= 16 << 10;
  ParallelFor(small ? nullptr : exec.pool, rows, [&](int64_t row, int) {
    const int64_t b = row / c.heads, head = row % c.heads;
    const int64_t first = state.lengths != nullptr ? state.lengths[b] : position;
    for (int64_t s = skip; s < count; ++s) {
      const int64_t slot = c.ring ? (first + s) % c.capacity : first + s;
      table.kv_store(c, state.RowOf(b), head,
                     src.data + b * src.batch + head * src.head + s * src.token, slot);
    }
  });
}

void KvLoad(const Exec& exec, const KvCache& c, int64_t position, int64_t count, const Heads& dst,
            const StateRows& state, int64_t added) {
  const KernelTable& table = TableOf(exec.isa);
  const KvView view = ViewOf(c);
  ParallelFor(exec.pool, c.batch * c.heads, [&](int64_t row, int) {
    const int64_t b = row / c.heads, head = row % c.heads;
    const int64_t end = state.lengths != nullptr ? state.lengths[b] + added : position + count;
    for (int64_t s = 0; s < count; ++s) {
      float* to = dst.data + b * dst.batch + head * dst.head + s * dst.token;
      if (position + s < end) {
        table.kv_load(view, state.RowOf(b), head, position + s, c.dim, to);
      } else {
        for (int64_t d = 0; d < c.dim; ++d) to[d] = 0.0f;
      }
    }
  });
}

}  // namespace smelt
