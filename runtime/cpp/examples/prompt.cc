// Writes a conversation as the text that a model wants: prompt MODEL.smelt JSON
// JSON is {"messages": [{"role": "user", "content": "..."}], ...}; the template is the file's own.
#include <cstdio>

#include "smelt/smelt.hpp"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL.smelt JSON\n", argv[0]);
    return 2;
  }
  smelt::ModelFile model;
  smelt::ChatTemplate chat;
  std::string text;
  if (model.Open(argv[1]) || chat.Open(model) || chat.Apply(argv[2], &text)) {
    std::fprintf(stderr, "error: %s\n", smelt::Message());
    return 1;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}
