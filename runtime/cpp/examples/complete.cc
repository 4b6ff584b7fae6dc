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
  smelt::TextStream stream(tokenizer);
  const auto show = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  const size_t most = std::strtoull(argv[2], nullptr, 10);
  const smelt_code code = runner.Generate(prompt.data(), prompt.size(), most, [&](int64_t token) {
    show(stream.Push(token));
    return true;
  });
  show(stream.Finish());
  std::printf("\n");
  if (code) std::fprintf(stderr, "error: %s\n", smelt::Message());
  return code ? 1 : 0;
}
