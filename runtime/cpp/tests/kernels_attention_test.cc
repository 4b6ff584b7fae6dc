// Attention and the KV cache against the definition in kernels.h.
#include "kernels_reference.h"

namespace smelt::testing {

namespace {

char label[200];

struct Case {
  int64_t batch, heads, kv_heads, queries, keys, dim, value_dim;
  DType dtype;
  bool ring, causal;
  int64_t window;
  float softcap;
  bool bias, mask, sinks, bf16;
};

float ToBf16AndBack(float x) { return FloatOfBf16(Bf16OfFloat(x)); }

std::vector<double> Reference(const Case& c, const std::vector<float>& q,
                              const std::vector<float>& k, const std::vector<float>& v,
                              int64_t ring, float scale, const std::vector<float>& bias,
                              const std::vector<uint8_t>& mask, const std::vector<float>& sinks) {
  std::vector<double> out(static_cast<size_t>(c.batch * c.queries * c.heads * c.value_dim));
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t h = 0; h < c.heads; ++h) {
      const int64_t kv = b * c.kv_heads + h / (c.heads / c.kv_heads);
      for (int64_t i = 0; i < c.queries; ++i) {
        std::vector<double> s(static_cast<size_t>(c.keys), -INFINITY);
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < c.keys; ++j) {
          const int64_t d = (c.keys - 1 - j) - (c.queries - 1 - i);
          if (c.causal && (d < 0 || (c.window > 0 && d >= c.window))) continue;
          if (!c.causal && c.window > 0 && std::llabs(d) >= c.window) continue;
          if (ring > 0 && j < c.keys - ring) continue;
          if (c.mask && mask[static_cast<size_t>(b * c.keys + j)] == 0) continue;
          double dot = 0;
          for (int64_t e = 0; e < c.dim; ++e) {
            dot += static_cast<double>(
                       q[static_cast<size_t>(((b * c.queries + i) * c.heads + h) * c.dim + e)]) *
                   static_cast<double>(k[static_cast<size_t>((kv * c.keys + j) * c.dim + e)]);
          }
          dot *= static_cast<double>(scale);
          if (c.softcap > 0)
            dot = static_cast<double>(c.softcap) * std::tanh(dot / static_cast<double>(c.softcap));
          if (c.bias)
            dot += static_cast<double>(bias[static_cast<size_t>((h * c.queries + i) * c.keys + j)]);
          s[static_cast<size_t>(j)] = dot;
          top = std::fmax(top, dot);
        }
        if (c.sinks) top = std::fmax(top, static_cast<double>(sinks[static_cast<size_t>(h)]));
        if (top == -INFINITY) continue;
        for (double& x : s) x = std::exp(x - top), sum += x;
        if (c.sinks) sum += std::exp(static_cast<double>(sinks[static_cast<size_t>(h)]) - top);
        for (int64_t e = 0; e < c.value_dim; ++e) {
          double y = 0;
          for (int64_t j = 0; j < c.keys; ++j) {
            y += s[static_cast<size_t>(j)] *
                 static_cast<double>(v[static_cast<size_t>((kv * c.keys + j) * c.value_dim + e)]);
          }
          out[static_cast<size_t>(((b * c.queries + i) * c.heads + h) * c.value_dim + e)] = y / sum;
        }
      }
    }
  }
  return out;
}

struct Region {
  Buffer data, scales;
  KvCache cache;
  Region(DType dtype, int64_t batch, int64_t heads, int64_t capacity, int64_t dim, bool ring)
      : data(KvDataBytes(dtype, batch, heads, capacity, dim)),
        scales(KvScaleBytes(dtype, batch, heads, capacity)) {
    cache = {dtype, data.data(), reinterpret_cast<float*>(scales.data()), batch, heads, capacity,
             dim,   ring};
  }
};

// Stores all keys in pieces, reads them back (a ring only its newest), and returns what the cache
// holds as f32.
std::vector<float> Fill(const Exec& exec, Region& region, const std::vector<float>& x,
                        int64_t keys) {
  const KvCache& c = region.cache;
  const auto at = [&](std::vector<float>& v, int64_t position) {
    return Heads{v.data() + position * c.dim, c.heads * keys * c.dim, keys * c.dim, c.dim};
  };
  std::vector<float> source = x;
  for (int64_t p = 0; p < keys;) {
    const int64_t n = keys - p < 5 ? keys - p : p == 0 ? 3 : keys - p > 20 ? 20 : 5;
    KvStore(exec, c, at(source, p), p, n);
    p += n;
  }
  std::vector<float> back = x;
  const int64_t first = c.ring && keys > c.capacity ? keys - c.capacity : 0;
  KvLoad(exec, c, first, keys - first, at(back, first));
  std::vector<double> want(x.begin(), x.end());
  const double tolerance[] = {0.0, 6e-4, 5e-3, 6e-3};
  ExpectNear(back, want, tolerance[static_cast<int>(c.dtype)]);
  return back;
}

void TestCase(Random& random, const Case& c) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.dim));
  std::vector<float> q = random.Floats(c.batch * c.queries * c.heads * c.dim, 3.0f);
  const std::vector<float> k = random.Floats(c.batch * c.kv_heads * c.keys * c.dim, 3.0f);
  const std::vector<float> v = random.Floats(c.batch * c.kv_heads * c.keys * c.value_dim);
  const std::vector<float> bias = random.Floats(c.heads * c.queries * c.keys),
                           sinks = random.Floats(c.heads);
  std::vector<uint8_t> mask(static_cast<size_t>(c.batch * c.keys));
  for (size_t i = 0; i < mask.size(); ++i)
    mask[i] = i < static_cast<size_t>(c.keys) / 2 ? 0 : random.Int(0, 3) != 0;
  const int64_t capacity = c.ring ? c.window + c.queries + 2 : c.keys + 7;
  std::vector<float> first[kIsas];
  std::vector<double> want;
  const auto rounded = [&](std::vector<float> x, float factor) {
    for (float& e : x) e = c.bf16 ? ToBf16AndBack(e * factor) : e;
    return x;
  };
  ForEachExec([&](const Exec& exec) {
    snprintf(label, sizeof label,
             "attention B%d H%d/%d S%d T%d D%d/%d dtype %d ring %d causal %d window %d cap %g bias "
             "%d mask %d sinks %d bf16 %d %s/%d",
             static_cast<int>(c.batch), static_cast<int>(c.heads), static_cast<int>(c.kv_heads),
             static_cast<int>(c.queries), static_cast<int>(c.keys), static_cast<int>(c.dim),
             static_cast<int>(c.value_dim), static_cast<int>(c.dtype), c.ring, c.causal,
             static_cast<int>(c.window), static_cast<double>(c.softcap), c.bias, c.mask, c.sinks,
             c.bf16, IsaName(exec.isa), exec.threads());
    where = label;
    Region keys(c.dtype, c.batch, c.kv_heads, capacity, c.dim, c.ring);
    Region values(c.dtype, c.batch, c.kv_heads, capacity, c.value_dim, c.ring);
    const std::vector<float> kf = Fill(exec, keys, k, c.keys), vf = Fill(exec, values, v, c.keys);
    if (want.empty())
      want = Reference(c, rounded(q, scale), rounded(kf, 1.0f), rounded(vf, 1.0f),
                       c.ring ? capacity : 0, c.bf16 ? 1.0f : scale, bias, mask, sinks);
    std::vector<float> out(want.size(), 3.0f);
    AttentionArgs a;
    a.batch = c.batch, a.heads = c.heads, a.kv_heads = c.kv_heads, a.queries = c.queries,
    a.keys = c.keys;
    a.dim = c.dim, a.value_dim = c.value_dim;
    a.q = {q.data(), c.queries * c.heads * c.dim, c.dim, c.heads * c.dim};
    a.out = {out.data(), c.queries * c.heads * c.value_dim, c.value_dim, c.heads * c.value_dim};
    a.k = ViewOf(keys.cache);
    a.v = ViewOf(values.cache);
    a.scale = scale;
    a.softcap = c.softcap;
    a.causal = c.causal;
    a.window = c.window;
    a.bf16 = c.bf16;
    if (c.bias) a.bias = bias.data(), a.bias_head = c.queries * c.keys, a.bias_query = c.keys;
    if (c.mask) a.mask = mask.data(), a.mask_batch = c.keys;
    if (c.sinks) a.sinks = sinks.data();
    Buffer scratch(AttentionScratchBytes(exec, a));
    Attention(exec, a, scratch.data());
    const bool rounds = c.bf16 && (exec.isa == Isa::kAvx512Bf16 || exec.isa == Isa::kAmx);
    ExpectNear(out, want, rounds ? 0x1p-9 : 1e-5);  // probabilities too, in bf16
    std::vector<float>& one = first[static_cast<int>(exec.isa)];
    if (one.empty()) one = out;
    Expect(SameBits(one, out), "result depends on the number of threads");
  });
}

}  // namespace

void TestScratchGrows() {
  where = "attention scratch";
  AttentionArgs a;
  a.dim = a.value_dim = 64;
  for (int64_t group : {1, 3, 7, 40}) {
    a.kv_heads = 2;
    a.heads = 2 * group;
    size_t before = 0;
    for (int64_t keys : {1, 100, 5000, 16384, 16385, 40000}) {
      size_t last = before;
      for (a.queries = 1, a.keys = keys; a.queries < 100; ++a.queries) {
        const size_t bytes = AttentionScratchBytes(Exec{}, a);
        Expect(bytes >= last, "scratch grows with queries and keys");
        last = bytes;
        if (a.queries == 1) before = bytes;
      }
    }
  }
}

void TestAttention(Random& random) {
  TestScratchGrows();
  int turn = 0;
  const int64_t lengths[][2] = {{1, 1},   {1, 16},  {1, 37},  {1, 700},  {3, 20}, {5, 5},
                                {17, 17}, {21, 90}, {70, 70}, {66, 133}, {4, 2}};
  const int64_t heads[][2] = {{1, 1}, {4, 2}, {9, 3}, {14, 2}, {20, 1}};
  const int64_t dims[][2] = {{8, 8}, {64, 64}, {33, 20}, {48, 64}, {80, 80}};
  for (const auto& length : lengths) {
    for (const auto& head : heads) {
      for (const auto& dim : dims) {
        ++turn;
        Case c = {turn % 3 == 0 ? 2 : 1,
                  head[0],
                  head[1],
                  length[0],
                  length[1],
                  dim[0],
                  dim[1],
                  DType::kF32,
                  false,
                  true,
                  0,
                  0.0f,
                  false,
                  false,
                  false,
                  turn % 8 < 3};
        c.dtype = static_cast<DType>(turn % 4);
        c.causal = turn % 7 != 0;
        if (turn % 5 == 0) c.window = 9;
        if (turn % 10 == 0) c.ring = true, c.causal = true;
        if (turn % 6 == 0) c.softcap = 20.0f;
        c.bias = turn % 4 == 1;
        c.mask = turn % 3 == 1;
        c.sinks = turn % 9 == 2;
        TestCase(random, c);
      }
    }
  }
}

}  // namespace smelt::testing
