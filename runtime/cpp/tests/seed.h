// Seeds of tests: files with repetitions packed (tests/text/seeds.py), and damage to them.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz_mutate.h"

namespace smelt::fuzz {

// What main was given, FOLDER [MUTATIONS [FIRST]]: where seeds are, and which damage is tried.
inline std::string g_folder;
inline uint64_t g_mutations = 2000, g_first = 0;

inline bool ReadArguments(int argc, char** argv) {
  if (argc < 2) return false;
  g_folder = argv[1];
  if (argc > 2) g_mutations = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) g_first = std::strtoull(argv[3], nullptr, 10);
  return true;
}

// The bytes of a seed, unpacked; sanitizers watch both of its ends.
struct Seed {
  std::unique_ptr<uint8_t, void (*)(void*)> bytes{nullptr, std::free};
  uint32_t size = 0;

  Seed(const std::string& folder, const char* name) {
    std::FILE* file = std::fopen((folder + "/" + name).c_str(), "rb");
    if (!file) return;
    std::fread(&size, 4, 1, file);
    bytes.reset(static_cast<uint8_t*>(std::malloc(size)));
    uint8_t* out = bytes.get();
    uint16_t counts[2];
    uint32_t back;
    while (std::fread(counts, 4, 1, file) == 1 && std::fread(&back, 4, 1, file) == 1) {
      if (counts[0] && std::fread(out, counts[0], 1, file) != 1) break;
      out += counts[0];
      for (uint16_t i = 0; i < counts[1]; ++i, ++out) *out = *(out - back);
    }
    std::fclose(file);
  }
};

// A field that says something else: mostly near the start, where sizes and indices are.
inline void ChangeWord(Random* random, uint8_t* bytes, uint32_t size) {
  const uint32_t most = random->Below(2) ? 4096u : size;
  const auto at = static_cast<uint32_t>(random->Below(most < size ? most : size) & ~3u);
  if (at + 4 > size) return;
  uint32_t value;
  std::memcpy(&value, bytes + at, 4);
  const uint32_t choices[] = {value + 1,
                              value - 1,
                              0,
                              0xffffffffu,
                              value ^ 1u << random->Below(32),
                              value * 2,
                              static_cast<uint32_t>(random->Next())};
  value = choices[random->Below(7)];
  std::memcpy(bytes + at, &value, 4);
}

// Calls body(number) for each damaged form of a seed, which is as it was afterwards.
template <typename Body>
void ForDamaged(const Seed& seed, const Body& body) {
  const std::vector<uint8_t> whole(seed.bytes.get(), seed.bytes.get() + seed.size);
  for (uint64_t number = g_first; number < g_first + g_mutations; ++number) {
    Random random(number);
    for (uint64_t n = 1 + random.Below(3); n; --n) ChangeWord(&random, seed.bytes.get(), seed.size);
    body(number);
    std::memcpy(seed.bytes.get(), whole.data(), whole.size());
  }
}

}  // namespace smelt::fuzz
