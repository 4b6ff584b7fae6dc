#include "limits.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <new>

#include "kernels/kernels.h"
#include "threads.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#define SMELT_TARGET(features) __attribute__((target(features), noinline))
#endif

namespace smelt {
namespace {

using Work = int64_t (*)(const uint8_t* memory, int64_t bytes);  // returns operations or bytes

constexpr int64_t kReadBytes = int64_t{256} << 20;  // more than the caches hold
constexpr int64_t kTurns = 40000;
volatile uint64_t g_sink;

int64_t ReadPortable(const uint8_t* memory, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t at = 0; at + 64 <= bytes; at += 64) {
    for (int i = 0; i < 8; ++i) sums[i] ^= *reinterpret_cast<const uint64_t*>(memory + at + 8 * i);
  }
  for (uint64_t sum : sums) g_sink = g_sink + sum;
  return bytes;
}

#if defined(__x86_64__)

// Twelve sums are enough to fill the pipelines, and few enough for the registers.
constexpr int kSums = 12;

template <typename T>
void Keep(const T& value) {
  asm volatile("" ::"x"(value));
}

SMELT_TARGET("avx2") int64_t ReadAvx2(const uint8_t* memory, int64_t bytes) {
  __m256i sums[8];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (int64_t at = 0; at + 256 <= bytes; at += 256) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const auto* from = reinterpret_cast<const __m256i*>(memory + at + 32 * k);
      sums[k] = _mm256_xor_si256(sums[k], _mm256_loadu_si256(from));
    }
  }
  for (auto& sum : sums) Keep(sum);
  return bytes;
}

SMELT_TARGET("avx2,fma") int64_t FloatsAvx2(const uint8_t*, int64_t) {
  __m256 sums[kSums], a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(1e-9f);
  for (auto& sum : sums) sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < kTurns; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) sums[k] = _mm256_fmadd_ps(a, b, sums[k]);
    asm volatile("" : "+x"(a));
  }
  for (auto& sum : sums) Keep(sum);
  return kTurns * kSums * 8 * 2;
}

SMELT_TARGET("avx2") int64_t Int8Avx2(const uint8_t*, int64_t) {
  __m256i sums[kSums], a = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < kTurns; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) {
      const __m256i pairs = _mm256_maddubs_epi16(a, sums[k]);
      sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(pairs, one));
    }
    asm volatile("" : "+x"(a));
  }
  for (auto& sum : sums) Keep(sum);
  return kTurns * kSums * 32 * 2;
}

SMELT_TARGET("avx512f") int64_t FloatsAvx512(const uint8_t*, int64_t) {
  __m512 sums[kSums], a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(1e-9f);
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < kTurns; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) sums[k] = _mm512_fmadd_ps(a, b, sums[k]);
    asm volatile("" : "+v"(a));
  }
  for (auto& sum : sums) asm volatile("" ::"v"(sum));
  return kTurns * kSums * 16 * 2;
}

SMELT_TARGET("avx512f,avx512vnni") int64_t Int8Avx512(const uint8_t*, int64_t) {
  __m512i sums[kSums], a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < kTurns; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) sums[k] = _mm512_dpbusd_epi32(sums[k], a, b);
    asm volatile("" : "+v"(a));
  }
  for (auto& sum : sums) asm volatile("" ::"v"(sum));
  return kTurns * kSums * 64 * 2;
}

struct alignas(64) TileShape {
  uint8_t palette = 1, start = 0, zero[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

SMELT_TARGET("amx-tile") void SetTiles() {
  TileShape shape;
  for (int i = 0; i < 8; ++i) shape.bytes[i] = 64, shape.rows[i] = 16;
  asm volatile("" ::"r"(&shape) : "memory");  // the intrinsic names its first bytes only
  _tile_loadconfig(&shape);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

SMELT_TARGET("amx-tile,amx-int8") int64_t Int8Amx(const uint8_t*, int64_t) {
  SetTiles();
  for (int64_t i = 0; i < kTurns / 16; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
  return kTurns / 16 * 4 * 16 * 16 * 64 * 2;
}

SMELT_TARGET("avx512f,avx512bf16") int64_t Bf16Avx512(const uint8_t*, int64_t) {
  __m512 sums[kSums];
  __m512i a = _mm512_set1_epi16(0x3F80);  // 1.0
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < kTurns; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kSums; ++k) {
      const __m512bh ones = reinterpret_cast<__m512bh>(a);
      sums[k] = _mm512_dpbf16_ps(sums[k], ones, ones);
    }
    asm volatile("" : "+v"(a));
  }
  for (auto& sum : sums) asm volatile("" ::"v"(sum));
  return kTurns * kSums * 32 * 2;
}

SMELT_TARGET("amx-tile,amx-bf16") int64_t Bf16Amx(const uint8_t*, int64_t) {
  SetTiles();
  for (int64_t i = 0; i < kTurns / 16; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return kTurns / 16 * 4 * 16 * 16 * 32 * 2;
}
constexpr int kAmxProducts = 6;  // of one f32 product (kernels/simd/amx_float.cc)

bool HasAvx512(Isa isa) { return isa == Isa::kAvx512 || isa == Isa::kAvx512Bf16; }

Work ReadWork(Isa isa) { return isa == Isa::kPortable ? ReadPortable : ReadAvx2; }

Work Int8Work(Isa isa) {
  if (isa == Isa::kAmx) return Int8Amx;
  return HasAvx512(isa) ? Int8Avx512 : isa == Isa::kAvx2 ? Int8Avx2 : nullptr;
}

Work FloatWork(Isa isa) {
  if (isa == Isa::kAmx || HasAvx512(isa)) return FloatsAvx512;
  return isa == Isa::kAvx2 ? FloatsAvx2 : nullptr;
}

// Null: bf16 are widened and multiplied as floats.
Work Bf16Work(Isa isa) {
  return isa == Isa::kAmx ? Bf16Amx : isa == Isa::kAvx512Bf16 ? Bf16Avx512 : nullptr;
}

#else

Work ReadWork(Isa) { return ReadPortable; }
Work Int8Work(Isa) { return nullptr; }
Work FloatWork(Isa) { return nullptr; }
Work Bf16Work(Isa) { return nullptr; }

#endif

// Memory in pages as large as those of a mapped artifact: in small ones the prefetcher stops at
// each page's end, and reads come at half the speed.
struct Large {
  uint8_t* data;
  explicit Large(int64_t bytes) {
    constexpr size_t kPage = size_t{2} << 20;
    data =
        static_cast<uint8_t*>(::operator new(static_cast<size_t>(bytes), std::align_val_t{kPage}));
#if defined(MADV_HUGEPAGE)
    madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
    std::memset(data, 1, static_cast<size_t>(bytes));
  }
  ~Large() { ::operator delete(data, std::align_val_t{size_t{2} << 20}); }
  Large(const Large&) = delete;
};

// The best of many rounds, shorter than a scheduler's time slice, in which every thread does the
// work once; each round is on the next of kParts parts of the memory.
double Rate(ThreadPool* pool, Work work, const uint8_t* memory, int64_t bytes) {
  if (work == nullptr) return 0;
  constexpr int kParts = 16, kRounds = 4 * kParts;
  const int threads = pool->threads();
  const int64_t part = bytes / kParts / threads / 64 * 64;
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const uint8_t* from = memory + bytes / kParts * (round % kParts);
    int64_t done[ThreadPool::kMaxThreads] = {};
    const auto start = std::chrono::steady_clock::now();
    ParallelFor(pool, threads,
                [&](int64_t task, int) { done[task] = work(from + task * part, part); });
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    double sum = 0;
    for (int64_t count : done) sum += static_cast<double>(count);
    best = std::max(best, sum / spent.count());
  }
  return best;
}

}  // namespace

Limits MeasureLimits(int threads) {
  ThreadPool pool;
  pool.Start(std::clamp(threads, 1, ThreadPool::kMaxThreads));
  Limits limits;
  const Isa isa = BestIsa();
  {
    const Large memory(kReadBytes);
    limits.bytes = Rate(&pool, ReadWork(isa), memory.data, kReadBytes);
  }
  limits.int8 = Rate(&pool, Int8Work(isa), nullptr, 0);
  limits.floats = Rate(&pool, FloatWork(isa), nullptr, 0);
  const Work bf16 = Bf16Work(isa);
  limits.bf16 = bf16 == nullptr ? limits.floats : Rate(&pool, bf16, nullptr, 0);
#if defined(__x86_64__)
  if (isa == Isa::kAmx) limits.floats = std::max(limits.floats, limits.bf16 / kAmxProducts);
#endif
  return limits;
}

}  // namespace smelt
