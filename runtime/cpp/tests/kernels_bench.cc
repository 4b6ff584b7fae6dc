// Kernel speeds. `smelt bench --profile` measures the limits beside them: on a Zen 4 core of 3.7
// GHz 36 GB/s (18 from memory in small pages, as here), 0.47 int8 and 0.12 f32 TOP/s, since one
// vector of 512 bits is multiplied a cycle.
//   kernels_bench [threads]      SMELT_ISA chooses the instruction set
#include <time.h>

#include "kernels_reference.h"

using namespace smelt;
using namespace smelt::testing;

namespace {

double Seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The best of many short runs, shorter than a scheduler's time slice: what the kernel takes when
// nobody disturbs it.
template <typename F>
double Best(const F& f) {
  double best = 1e9;
  const double begin = Seconds();
  for (double now = begin; now - begin < 0.25;) {
    const double start = now;
    int64_t times = 0;
    while (now - start < 0.002) f(), ++times, now = Seconds();
    best = std::fmin(best, (now - start) / static_cast<double>(times));
  }
  return best;
}

struct Bench {
  const char* name;
  Format format;
  int32_t group;
  Input input;
};

void BenchLinear(const Exec& exec, const Bench& b, int64_t O, int64_t K, int64_t rows, bool cold) {
  const PackedShape shape = {b.format, true, b.group, O, K};
  const int64_t bytes = LayoutOf(shape).bytes;
  // Decode reads every layer once a token: several copies keep the weights out of the caches.
  const int64_t copies = cold ? (300 << 20) / bytes + 1 : 1;
  Buffer blob(static_cast<size_t>(bytes * copies));
  Random random;
  const Weights w = MakeWeights(random, shape);
  for (int64_t i = 0; i < copies; ++i)
    memcpy(blob.data() + i * bytes, w.data(), static_cast<size_t>(bytes));
  std::vector<float> x = random.Floats(rows * K), y(static_cast<size_t>(rows * O));
  Buffer scratch(LinearScratchBytes(exec, shape, b.input, rows));
  LinearArgs a;
  a.input = b.input;
  a.rows = rows;
  a.x = x.data();
  a.x_stride = K;
  a.y = y.data();
  a.y_stride = O;
  int64_t turn = 0;
  const double t = Best([&] {
    a.w = MatrixAt(shape, blob.data() + turn++ % copies * bytes);
    Linear(exec, a, scratch.data());
  });
  printf("%-22s %6d x %-5d rows %-4d %9.1f us  %6.1f GB/s  %7.1f GOP/s\n", b.name,
         static_cast<int>(O), static_cast<int>(K), static_cast<int>(rows), t * 1e6,
         static_cast<double>(bytes) / t * 1e-9, 2e-9 * static_cast<double>(O * K * rows) / t);
}

void BenchAttention(const Exec& exec, DType dtype, int64_t heads, int64_t kv_heads, int64_t dim,
                    int64_t queries, int64_t keys) {
  Random random;
  const int64_t copies = queries == 1 ? 40 : 1;
  const size_t data = KvDataBytes(dtype, 1, kv_heads, keys, dim),
               scales = KvScaleBytes(dtype, 1, kv_heads, keys);
  Buffer region((data + scales) * 2 * static_cast<size_t>(copies));
  std::vector<float> rows = random.Floats(kv_heads * keys * dim);
  std::vector<KvCache> caches;
  for (int64_t i = 0; i < 2 * copies; ++i) {
    uint8_t* p = region.data() + static_cast<size_t>(i) * (data + scales);
    caches.push_back({dtype, p, reinterpret_cast<float*>(p + data), 1, kv_heads, keys, dim, false});
    KvStore(exec, caches.back(), {rows.data(), 0, keys * dim, dim}, 0, keys);
  }
  std::vector<float> q = random.Floats(queries * heads * dim), out(q.size());
  AttentionArgs a;
  a.heads = heads, a.kv_heads = kv_heads, a.queries = queries, a.keys = keys,
  a.dim = a.value_dim = dim;
  a.q = {q.data(), 0, dim, heads * dim};
  a.out = {out.data(), 0, dim, heads * dim};
  a.causal = true;
  a.scale = 0.125f;
  Buffer scratch(AttentionScratchBytes(exec, a));
  size_t turn = 0;
  const double t = Best([&] {
    a.k = ViewOf(caches[turn % caches.size()]);
    a.v = ViewOf(caches[(turn + 1) % caches.size()]);
    turn += 2;
    Attention(exec, a, scratch.data());
  });
  const double pairs = static_cast<double>(queries) *
                       (static_cast<double>(keys) - 0.5 * static_cast<double>(queries - 1));
  static const char* const kNames[] = {"f32", "f16", "bf16", "int8"};
  printf("attention %-4s %2d/%d x %-3d S %-4d T %-5d %9.1f us  %6.1f GB/s  %7.1f GOP/s\n",
         kNames[static_cast<int>(dtype)], static_cast<int>(heads), static_cast<int>(kv_heads),
         static_cast<int>(dim), static_cast<int>(queries), static_cast<int>(keys), t * 1e6,
         static_cast<double>(2 * (data + scales)) / t * 1e-9,
         4e-9 * pairs * static_cast<double>(heads * dim) / t);
}

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool;
  const int threads = argc > 1 ? atoi(argv[1]) : 1;
  pool.Start(threads);
  const Exec exec = {BestIsa(), &pool};
  printf("%s, %d thread(s)\n", IsaName(exec.isa), exec.threads());
  const Bench benches[] = {{"int4 g32", Format::kInt4, 32, Input::kInt8},
                           {"int4 g64", Format::kInt4, 64, Input::kInt8},
                           {"int8 g32", Format::kInt8, 32, Input::kInt8},
                           {"int8 g128", Format::kInt8, 128, Input::kInt8},
                           {"int4 g32, f32 input", Format::kInt4, 32, Input::kF32},
                           {"bf16, f32 input", Format::kBf16, 0, Input::kF32},
                           {"bf16", Format::kBf16, 0, Input::kBf16},
                           {"f16", Format::kF16, 0, Input::kF32},
                           {"f32", Format::kF32, 0, Input::kF32}};
  for (const Bench& b : benches) {
    BenchLinear(exec, b, 4864, 896, 1, true);
    BenchLinear(exec, b, 576, 576, 1, true);
    BenchLinear(exec, b, 576, 1536, 4, true);
    BenchLinear(exec, b, 1536, 576, 512, false);
    BenchLinear(exec, b, 896, 4864, 512, false);
  }
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBf16, DType::kI8}) {
    BenchAttention(exec, dtype, 9, 3, 64, 1, 512);
    BenchAttention(exec, dtype, 9, 3, 64, 1, 4096);
    BenchAttention(exec, dtype, 9, 3, 64, 512, 512);
  }
  BenchAttention(exec, DType::kF32, 12, 12, 32, 128, 128);
  BenchAttention(exec, DType::kBf16, 14, 2, 64, 1, 16384);
  BenchAttention(exec, DType::kI8, 14, 2, 64, 1, 16384);
  MatMulArgs m{1, 384, 1536, 384, nullptr, nullptr, nullptr, 384, 384, 1536, 0, 0, 0, true};
  Random random;
  const std::vector<float> a = random.Floats(384 * 384), b = random.Floats(1536 * 384);
  std::vector<float> c(384 * 1536), norm(512 * 576);
  m.a = a.data(), m.b = b.data(), m.c = c.data();
  Buffer scratch(MatMulScratchBytes(exec, m));
  const double t = Best([&] { MatMul(exec, m, scratch.data()); });
  printf("matmul 384 x 384 x 1536 transposed: %.1f us, %.1f GOP/s\n", t * 1e6,
         2e-9 * 384 * 384 * 1536 / t);
  NormArgs n;
  n.rows = 512, n.dim = 576, n.x = c.data(), n.y = norm.data(), n.weight = a.data(), n.eps = 1e-5f;
  printf("rms norm 512 x 576: %.1f us\n", Best([&] { RmsNorm(exec, n); }) * 1e6);
  printf("gelu 512 x 576: %.1f us\n",
         Best([&] { Activate(exec, Activation::kGelu, c.data(), 512 * 576, norm.data()); }) * 1e6);
  return 0;
}
