// Generates from token ids: generate MODEL.smelt MOST TOKEN [TOKEN ...]
// Prints each new id as it comes, then the speed. SMELT_THREADS sets the number of threads.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "smelt/smelt.hpp"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s MODEL.smelt MOST TOKEN [TOKEN ...]\n", argv[0]);
    return 2;
  }
  const size_t most = std::strtoull(argv[2], nullptr, 10);
  std::vector<int64_t> prompt;
  for (int i = 3; i < argc; ++i) prompt.push_back(std::strtoll(argv[i], nullptr, 10));

  smelt::ModelFile model;
  smelt::Runner runner;
  smelt_options options = SMELT_OPTIONS;
  const char* threads = std::getenv("SMELT_THREADS");
  options.threads = threads ? std::atoi(threads) : 1;
  if (model.Open(argv[1]) || runner.Open(model, options)) {
    std::fprintf(stderr, "error: %s\n", smelt::Message());
    return 1;
  }

  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  Clock::time_point first = start;
  size_t made = 0;
  const smelt_code code = runner.Generate(prompt.data(), prompt.size(), most, [&](int64_t token) {
    if (made++ == 0) first = Clock::now();
    std::printf("%lld ", static_cast<long long>(token));
    std::fflush(stdout);
    return true;
  });
  std::printf("\n");
  if (code) {
    std::fprintf(stderr, "error: %s\n", smelt::Message());
    return 1;
  }
  const double prefill = std::chrono::duration<double>(first - start).count();
  const double decode = std::chrono::duration<double>(Clock::now() - first).count();
  std::fprintf(stderr, "%zu prompt tokens in %.3f s, %zu new ones at %.1f tokens/s\n",
               prompt.size(), prefill, made,
               made > 1 && decode > 0 ? static_cast<double>(made - 1) / decode : 0.0);
  return 0;
}
