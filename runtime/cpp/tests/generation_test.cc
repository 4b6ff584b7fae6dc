// Generation over the decoder of the seeds: reuse, cancelling, saved state, files with damage.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "core/crc32.h"
#include "smelt/smelt.hpp"
#include "tests/core_model.h"
#include "tests/testing.h"

namespace smelt::testing {
namespace {

using Tokens = std::vector<int64_t>;
const Tokens kPrompt = {3, 7, 1, 9, 4};

ModelFile OpenDecoder() {
  ModelFile file;
  EXPECT(file.Open((std::string(SeedFolder()) + "/decoder.smelt").c_str()) == SMELT_OK);
  return file;
}

smelt_generation Drawn(uint64_t seed, int64_t most) {
  smelt_generation how = SMELT_GENERATION;
  how.temperature = 2;
  how.top_p = 0.9;
  how.seed = seed;
  how.max_new_tokens = most;
  return how;
}

Tokens Made(Runner* runner, const Tokens& prompt, const smelt_generation& how) {
  Tokens made;
  EXPECT(runner->Generate(prompt, how, [&](const smelt_token& token) {
    made.push_back(token.id);
    return true;
  }) == SMELT_OK);
  return made;
}

// The head says where its checksum is: behind 8 bytes, two words and four long words.
void SavedStateCrc(std::vector<char>* bytes) {
  if (bytes->size() < 64) return;
  const uint32_t crc = Crc32(0, bytes->data() + 64, bytes->size() - 64);
  std::memcpy(bytes->data() + 48, &crc, sizeof crc);
}

std::string Scratch(const char* name) {
  return "/tmp/smelt-" + std::to_string(::getpid()) + "-" + name;
}

std::vector<char> Bytes(const std::string& path) {
  std::vector<char> bytes(1 << 20);
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return {};
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
  std::fclose(file);
  return bytes;
}

void WriteBytes(const std::string& path, const std::vector<char>& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file);
  if (!bytes.empty()) EXPECT(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  std::fclose(file);
}

TEST(ASeedGivesTheSameTokensAgain) {
  const ModelFile file = OpenDecoder();
  Runner one, other;
  REQUIRE(one.Open(file) == SMELT_OK && other.Open(file) == SMELT_OK);
  const Tokens made = Made(&one, kPrompt, Drawn(5, 8));
  EXPECT(made.size() == 8);
  EXPECT(Made(&one, kPrompt, Drawn(5, 8)) == made);
  EXPECT(Made(&other, kPrompt, Drawn(5, 8)) == made);
  EXPECT(Made(&other, kPrompt, Drawn(6, 8)) != made);
  const smelt_metrics metrics = other.Metrics();
  EXPECT(metrics.seed == 6 && metrics.new_tokens == 8 && metrics.finish == SMELT_LENGTH);
  EXPECT(metrics.prompt_tokens == 5 && metrics.cached_tokens == 0);
  EXPECT(metrics.total_seconds >= metrics.first_token_seconds);
}

TEST(AConversationGoesOnFromWhatIsHeld) {
  const ModelFile file = OpenDecoder();
  Runner runner, fresh;
  REQUIRE(runner.Open(file) == SMELT_OK && fresh.Open(file) == SMELT_OK);
  smelt_generation how = Drawn(5, 3);
  how.reuse = 1;
  Tokens whole = kPrompt;
  for (int turn = 0; turn < 2; ++turn) {
    for (int64_t token : Made(&runner, whole, how)) whole.push_back(token);
    EXPECT(runner.Metrics().cached_tokens == (turn ? 7 : 0));
    EXPECT(smelt_past(runner.get()) == static_cast<int64_t>(whole.size()) - 1);
  }
  EXPECT(Made(&fresh, Tokens(whole.begin(), whole.begin() + 8), how) ==
         Tokens(whole.begin() + 8, whole.end()));
  smelt_reset(runner.get());
  Made(&runner, whole, how);
  EXPECT(runner.Metrics().cached_tokens == 0);
}

TEST(TheContextIsTheEnd) {
  const ModelFile file = OpenDecoder();
  Runner runner;
  REQUIRE(runner.Open(file) == SMELT_OK);
  EXPECT(Made(&runner, kPrompt, Drawn(5, 100)).size() == 11);  // 16 in all
  EXPECT(runner.Metrics().finish == SMELT_CONTEXT);
  EXPECT(runner.Generate(Tokens(16, 1), Drawn(5, 1), [](const smelt_token&) { return true; }) ==
         SMELT_INVALID_ARGUMENT);
}

TEST(CancellingEndsBehindAToken) {
  const ModelFile file = OpenDecoder();
  Runner runner;
  REQUIRE(runner.Open(file) == SMELT_OK);
  Tokens made;
  EXPECT(runner.Generate(kPrompt, Drawn(5, 8), [&](const smelt_token& token) {
    made.push_back(token.id);
    if (made.size() == 2) std::thread([&] { runner.Cancel(); }).join();
    return true;
  }) == SMELT_CANCELLED);
  EXPECT(made.size() == 2 && runner.Metrics().finish == SMELT_STOPPED);
  const Tokens whole = Made(&runner, kPrompt, Drawn(5, 8));
  EXPECT(whole.size() == 8 && whole[0] == made[0] && whole[1] == made[1]);
}

// `chunk` tokens go in at once; with few, the ring has begun again.
void GoesOn(int64_t chunk) {
  const ModelFile file = OpenDecoder();
  Runner runner, other;
  const smelt_limit limit = {"seq", chunk};
  smelt_options options = SMELT_OPTIONS;
  options.limits = &limit, options.limit_count = 1;
  REQUIRE(runner.Open(file, options) == SMELT_OK && other.Open(file, options) == SMELT_OK);
  smelt_generation how = Drawn(5, 4);
  how.reuse = 1;
  Tokens whole = kPrompt;
  for (int64_t token : Made(&runner, whole, how)) whole.push_back(token);
  const std::string path = Scratch("saved");
  REQUIRE(runner.Save(path.c_str()) == SMELT_OK);
  REQUIRE(other.Load(path.c_str()) == SMELT_OK);
  EXPECT(smelt_past(other.get()) == 8);
  EXPECT(Made(&other, whole, how) == Made(&runner, whole, how));
  EXPECT(other.Metrics().cached_tokens == 8);
  // A session with room for less, or with another ring, refuses; so does another model.
  smelt_options fewer = SMELT_OPTIONS;
  fewer.context = 7;
  Runner narrow;
  REQUIRE(narrow.Open(file, fewer) == SMELT_OK);
  EXPECT(narrow.Load(path.c_str()) == SMELT_INVALID_ARGUMENT);
  EXPECT(smelt_past(narrow.get()) == 0);
  ModelFile operations;
  REQUIRE(operations.Open((std::string(SeedFolder()) + "/operations.smelt").c_str()) == SMELT_OK);
  Runner stranger;
  REQUIRE(stranger.Open(operations) == SMELT_OK);
  EXPECT(stranger.Load(path.c_str()) == SMELT_INVALID_ARGUMENT);
  EXPECT(runner.Save("/nowhere/saved") == SMELT_IO && runner.Load("/nowhere/saved") == SMELT_IO);
  ::unlink(path.c_str());
}

TEST(SavedStateGoesOn) {
  GoesOn(16);
  GoesOn(2);
}

TEST(DamagedStateIsRefused) {
  const ModelFile file = OpenDecoder();
  Runner runner;
  REQUIRE(runner.Open(file) == SMELT_OK);
  const Tokens made = Made(&runner, kPrompt, Drawn(5, 4));
  const std::string path = Scratch("damaged");
  REQUIRE(runner.Save(path.c_str()) == SMELT_OK);
  const std::vector<char> whole = Bytes(path);
  REQUIRE(whole.size() > 64);
  for (size_t cut = 0; cut < whole.size(); cut += whole.size() / 40 + 1) {
    WriteBytes(path, std::vector<char>(whole.begin(), whole.begin() + static_cast<long>(cut)));
    EXPECT(runner.Load(path.c_str()) != SMELT_OK);
  }
  // With the checksum made to fit: what is inside is checked as well.
  uint32_t number = 1;
  for (int i = 0; i < 3000; ++i) {
    std::vector<char> changed = whole;
    for (int changes = 0; changes < 1 + i % 3; ++changes) {
      number = number * 1664525u + 1013904223u;
      const size_t limit = i % 2 ? whole.size() : 400;
      changed[(number >> 8) % limit] = static_cast<char>(i % 5 ? number >> 3 : 255);
    }
    SavedStateCrc(&changed);
    WriteBytes(path, changed);
    if (runner.Load(path.c_str()) == SMELT_OK) {
      smelt_generation how = Drawn(1, 3);
      how.reuse = 1;
      (void)runner.Generate(kPrompt, how, [](const smelt_token&) { return true; });
    }
  }
  runner.Reset();
  EXPECT(Made(&runner, kPrompt, Drawn(5, 4)) == made);
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace smelt::testing

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  smelt::testing::SeedFolder() = argv[1];
  return smelt::testing::RunAll();
}
