// Chats from one file: chat MODEL.smelt [SEED [TEMPERATURE [TOP_P [TOP_K [REPETITION [MOST]]]]]]
// A line of the input is a message, an empty one begins a new conversation. What is not given, or
// `-`, is what the model says. With CHAT_IDS set, the ids of each reply are written below it.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "smelt/smelt.hpp"

int main(int argc, char** argv) {
  const auto given = [&](int at, double missing) {
    return at < argc && argv[at][0] != '-' ? std::atof(argv[at]) : missing;
  };
  smelt::ModelFile model;
  smelt::TextTokenizer tokenizer;
  smelt::ChatTemplate chat;
  smelt::Runner runner;
  if (argc < 2 || model.Open(argv[1]) || tokenizer.Open(model) || chat.Open(model) ||
      runner.Open(model)) {
    std::fprintf(stderr, "chat MODEL.smelt [SEED ...]: %s\n", smelt::Message());
    return 1;
  }
  smelt_generation how = SMELT_GENERATION;
  how.tokenizer = tokenizer.get();
  how.seed = argc > 2 ? static_cast<uint64_t>(given(2, 0)) : SMELT_RANDOM;
  how.temperature = given(3, NAN);
  how.top_p = given(4, NAN);
  how.top_k = static_cast<int64_t>(given(5, -1));
  how.repetition_penalty = given(6, NAN);
  how.max_new_tokens = static_cast<int64_t>(given(7, -1));
  how.reuse = 1;  // what was said before is in the session already
  smelt::Conversation conversation;
  std::vector<int64_t> prompt;
  for (std::string line, text; std::getline(std::cin, line);) {
    if (line.empty()) {
      conversation.Clear();
      runner.Reset();
      continue;
    }
    conversation.Add("user", line);
    std::string reply, ids;
    if (chat.Apply(conversation.Json(), &text) || tokenizer.Encode(text, &prompt, false) ||
        runner.Generate(prompt, how, [&](const smelt_token& token) {
          reply.append(token.text, token.text_bytes);
          ids += " " + std::to_string(token.id);
          return std::cout.write(token.text, token.text_bytes).flush().good();
        })) {
      std::fprintf(stderr, "error: %s\n", smelt::Message());
      return 1;
    }
    conversation.Add("assistant", reply);
    std::cout << (std::getenv("CHAT_IDS") ? "\n#" + ids + "\n" : "\n") << std::flush;
  }
  return 0;
}
