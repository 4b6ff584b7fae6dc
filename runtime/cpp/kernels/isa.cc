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

bool HasAvx2() {
  const Cpuid one(1), seven(7);
  return (SavedState() & 0x6) == 0x6 && (one.c & (1u << 12)) && (one.c & (1u << 29)) &&
         (seven.b & (1u << 5));
}

bool HasAvx512() {
  const unsigned kFDqBwVl = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  const Cpuid seven(7);
  return HasAvx2() && (SavedState() & 0xE0) == 0xE0 && (seven.b & kFDqBwVl) == kFDqBwVl &&
         (seven.c & (1u << 11));
}

bool HasAmx() {
  const unsigned kBf16TileInt8 = (1u << 22) | (1u << 24) | (1u << 25);
  return HasAvx512() && (SavedState() & 0x60000) == 0x60000 &&
         (Cpuid(7).d & kBf16TileInt8) == kBf16TileInt8 && GrantAmx();
}

}  // namespace

bool IsaSupported(Isa isa) {
  static const bool supported[] = {true, HasAvx2(), HasAvx512(), HasAmx()};
  return supported[static_cast<int>(isa)];
}

#else

bool IsaSupported(Isa isa) { return isa == Isa::kPortable; }

#endif

const char* IsaName(Isa isa) {
  static const char* const kNames[] = {"portable", "avx2", "avx512", "amx"};
  return kNames[static_cast<int>(isa)];
}

Isa BestIsa() {
  static const Isa best = [] {
    const char* wanted = getenv("SMELT_ISA");
    Isa found = Isa::kPortable;
    for (int i = 0; i <= static_cast<int>(Isa::kAmx); ++i) {  // from plain to best
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
#if SMELT_X86
  if (isa == Isa::kAmx) return avx512::kAmxTable;
  if (isa == Isa::kAvx512) return avx512::kTable;
  if (isa == Isa::kAvx2) return avx2::kTable;
#endif
  (void)isa;
  return portable::kTable;
}

}  // namespace smelt
