// Goes on with a text: complete MODEL.smelt MOST TEXT
// The tokenizer is the model file's own; pieces are printed as they come, never half a character.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "smelt/smelt.hpp"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s MODEL.smelt MOST TEXT\n", argv[0]);
    return 2;
  }
  smelt::ModelFile model;
  smelt::TextTokenizer tokenizer;
  smelt::Runner runner;
  const smelt_options options = SMELT_OPTIONS;
  std::vector<int64_t> prompt;
  if (model.Open(argv[1]) || tokenizer.Open(model) || runner.Open(model, options) ||
      tokenizer.Encode(argv[3], &prompt)) {
    std::fprintf(stderr, "error: %s\n", smelt::Message());
    return 1;
  }
  smelt_generation how = SMELT_GENERATION;
  how.tokenizer = tokenizer.get();
  how.max_new_tokens = std::strtoll(argv[2], nullptr, 10);
  const smelt_code code = runner.Generate(prompt, how, [](const smelt_token& token) {
    std::fwrite(token.text, 1, token.text_bytes, stdout);
    std::fflush(stdout);
    return true;
  });
  std::printf("\n");
  if (code) std::fprintf(stderr, "error: %s\n", smelt::Message());
  return code ? 1 : 0;
}
