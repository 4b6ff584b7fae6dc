// Which instruction sets this build has, this machine has, and the caller wants.
#include "isa.h"

#include <cstdlib>
#include <cstring>

namespace smelt {

#if defined(__x86_64__)
#define SMELT_X86 1
#else
#define SMELT_X86 0
#endif

bool IsaSupported(Isa isa) {
  switch (isa) {
    case Isa::kPortable: return true;
#if SMELT_X86
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case Isa::kAvx512:
      return IsaSupported(Isa::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#endif
    default: return false;
  }
}

const char* IsaName(Isa isa) {
  static const char* const kNames[] = {"portable", "avx2", "avx512"};
  return kNames[static_cast<int>(isa)];
}

Isa BestIsa() {
  static const Isa best = [] {
    const char* wanted = getenv("SMELT_ISA");
    Isa found = Isa::kPortable;
    for (int i = 0; i <= static_cast<int>(Isa::kAvx512); ++i) {  // from plain to best
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
  if (isa == Isa::kAvx512) return avx512::kTable;
  if (isa == Isa::kAvx2) return avx2::kTable;
#endif
  (void)isa;
  return portable::kTable;
}

}  // namespace smelt
