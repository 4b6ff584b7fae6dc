// Which instruction sets this build has, this machine has, and the caller wants.
#include "isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#define SMELT_X86 1
#include <cpuid.h>
#else
#define SMELT_X86 0
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

// The build says which tables it has (SMELT_ISAS in CMake).
#ifndef SMELT_HAS_PORTABLE
#define SMELT_HAS_PORTABLE 0
#endif
#ifndef SMELT_HAS_AVX2
#define SMELT_HAS_AVX2 0
#endif
#ifndef SMELT_HAS_AVX512
#define SMELT_HAS_AVX512 0
#endif
#ifndef SMELT_HAS_NEON
#define SMELT_HAS_NEON 0
#endif
#ifndef SMELT_HAS_I8MM
#define SMELT_HAS_I8MM 0
#endif

namespace smelt {

#if SMELT_X86

namespace {

struct Cpuid {
  unsigned a, b, c, d;
  explicit Cpuid(unsigned leaf) : a(0), b(0), c(0), d(0) {
    __get_cpuid_count(leaf, 0, &a, &b, &c, &d);
  }
};

// The registers that the system saves: bit 1 SSE, 2 AVX, 5-7 AVX-512, 17-18 AMX.
uint64_t SavedState() {
  if ((Cpuid(1).c & (1u << 27)) == 0) return 0;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

[[maybe_unused]] bool HasAvx2() {
  const Cpuid one(1), seven(7);
  return (SavedState() & 0x6) == 0x6 && (one.c & (1u << 12)) && (one.c & (1u << 29)) &&
         (seven.b & (1u << 5));
}

[[maybe_unused]] bool HasAvx512() {
  const unsigned kFDqBwVl = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  const Cpuid seven(7);
  return HasAvx2() && (SavedState() & 0xE0) == 0xE0 && (seven.b & kFDqBwVl) == kFDqBwVl &&
         (seven.c & (1u << 11));
}

[[maybe_unused]] bool HasBf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return HasAvx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1u << 5));
}

[[maybe_unused]] bool HasAmx() {
#if SMELT_HAS_AVX512
  const unsigned kBf16TileInt8 = (1u << 22) | (1u << 24) | (1u << 25);
  return HasBf16() && (SavedState() & 0x60000) == 0x60000 &&
         (Cpuid(7).d & kBf16TileInt8) == kBf16TileInt8 && GrantAmx();
#else
  return false;
#endif
}

}  // namespace

#elif defined(__aarch64__)

namespace {

// Bits of AT_HWCAP and AT_HWCAP2, which older headers do not name.
[[maybe_unused]] bool HasFeature(int word, unsigned bit, const char* apple) {
#if defined(__linux__)
  (void)apple;
  return (getauxval(word == 1 ? AT_HWCAP : AT_HWCAP2) >> bit) & 1;
#elif defined(__APPLE__)
  (void)word, (void)bit;
  int has = 0;
  size_t size = sizeof has;
  return sysctlbyname(apple, &has, &size, nullptr, 0) == 0 && has != 0;
#else
  (void)word, (void)bit, (void)apple;
  return false;
#endif
}
[[maybe_unused]] bool HasDotProducts() { return HasFeature(1, 20, "hw.optional.arm.FEAT_DotProd"); }
[[maybe_unused]] bool HasI8mm() {
  return HasDotProducts() && HasFeature(2, 13, "hw.optional.arm.FEAT_I8MM");
}

}  // namespace

#endif

bool IsaSupported(Isa isa) {
#if SMELT_X86
  static const bool supported[kIsas] = {SMELT_HAS_PORTABLE, SMELT_HAS_AVX2 && HasAvx2(),
                                        SMELT_HAS_AVX512 && HasAvx512(),
                                        SMELT_HAS_AVX512 && HasBf16(), HasAmx()};
#elif defined(__aarch64__)
  static const bool supported[kIsas] = {
      SMELT_HAS_PORTABLE,         false, false, false, false, SMELT_HAS_NEON && HasDotProducts(),
      SMELT_HAS_I8MM && HasI8mm()};
#else
  static const bool supported[kIsas] = {SMELT_HAS_PORTABLE};
#endif
  return supported[static_cast<int>(isa)];
}

const char* IsaName(Isa isa) {
  static const char* const kNames[kIsas] = {"portable", "avx2", "avx512", "avx512bf16",
                                            "amx",      "neon", "i8mm"};
  return kNames[static_cast<int>(isa)];
}

Isa BestIsa() {
  static const Isa best = [] {
    const char* wanted = getenv("SMELT_ISA");
    Isa found = Isa::kPortable;
    for (int i = 0; i < kIsas; ++i) {  // from plain to best
      const Isa isa = static_cast<Isa>(i);
      if (!IsaSupported(isa)) continue;
      found = isa;
      if (wanted != nullptr && strcmp(wanted, IsaName(isa)) == 0) break;
    }
    return found;
  }();
  return best;
}

const KernelTable& TableOf(Isa isa) {
#if SMELT_HAS_AVX512
  if (isa == Isa::kAmx) return avx512::kAmxTable;
  if (isa == Isa::kAvx512Bf16) return avx512::kBf16Table;
  if (isa == Isa::kAvx512) return avx512::kTable;
#endif
#if SMELT_HAS_AVX2
  if (isa == Isa::kAvx2) return avx2::kTable;
#endif
#if SMELT_HAS_NEON
  if (isa == Isa::kNeon) return neon::kTable;
#endif
#if SMELT_HAS_I8MM
  if (isa == Isa::kI8mm) return i8mm::kTable;
#endif
  (void)isa;
#if SMELT_HAS_PORTABLE
  return portable::kTable;
#elif SMELT_HAS_AVX2
  return avx2::kTable;  // where not even this runs, no session opens
#elif SMELT_HAS_AVX512
  return avx512::kTable;
#elif SMELT_HAS_NEON
  return neon::kTable;
#else
  return i8mm::kTable;
#endif
}

}  // namespace smelt
