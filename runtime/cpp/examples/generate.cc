// Generates from token ids: generate MODEL.smelt MOST TOKEN [TOKEN ...]
// Prints each new id as it comes, then the speed; the likeliest token each time. SMELT_THREADS sets
// the number of threads.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "smelt/smelt.hpp"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s MODEL.smelt MOST TOKEN [TOKEN ...]\n", argv[0]);
    return 2;
  }
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

  smelt_generation how = SMELT_GENERATION;
  how.max_new_tokens = std::strtoll(argv[2], nullptr, 10);
  how.temperature = 0;
  const smelt_code code = runner.Generate(prompt, how, [](const smelt_token& token) {
    std::printf("%lld ", static_cast<long long>(token.id));
    std::fflush(stdout);
    return true;
  });
  std::printf("\n");
  if (code) {
    std::fprintf(stderr, "error: %s\n", smelt::Message());
    return 1;
  }
  const smelt_metrics m = runner.Metrics();
  std::fprintf(stderr, "%lld prompt tokens in %.3f s, %lld new ones at %.1f tokens/s\n",
               static_cast<long long>(m.prompt_tokens), m.first_token_seconds,
               static_cast<long long>(m.new_tokens),
               m.decode_seconds > 0 ? static_cast<double>(m.new_tokens - 1) /
                                          (m.total_seconds - m.first_token_seconds)
                                    : 0.0);
  return 0;
}
