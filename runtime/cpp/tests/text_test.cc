// Tokenizers on small seeds (tests/text/seeds.py): what they do, and that damage to their tables
// gives an error or a result, never a crash. Run under sanitizers.
//
//   text_test FOLDER [MUTATIONS] [FIRST]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz_mutate.h"
#include "tests/seed.h"
#include "tests/testing.h"
#include "text/tokenizer.h"

namespace {

using namespace smelt;
using text::Span;
using text::Tokenizer;

using fuzz::g_folder;
using fuzz::g_mutations;
using fuzz::Seed;

struct Encoded {
  Status status;
  std::vector<int64_t> ids;
  std::vector<Span> offsets;
};

Encoded Encode(const Tokenizer& tokenizer, const std::string& given, size_t scratch_bytes,
               text::EncodeOptions options = {}) {
  // Exactly as much as is allowed, so that sanitizers see a byte too many.
  std::unique_ptr<uint8_t, void (*)(void*)> scratch(
      static_cast<uint8_t*>(std::malloc(scratch_bytes)), std::free);
  std::unique_ptr<char[]> exact(new char[given.size()]);
  std::memcpy(exact.get(), given.data(), given.size());
  Encoded made;
  made.ids.resize(given.size() * 4 + 16);
  made.offsets.resize(made.ids.size());
  text::TokenSink sink{made.ids.data(), made.offsets.data(), made.ids.size(), 0};
  made.status =
      tokenizer.Encode(exact.get(), given.size(), options, scratch.get(), scratch_bytes, &sink);
  const size_t count = sink.count < made.ids.size() ? sink.count : made.ids.size();
  made.ids.resize(count);
  made.offsets.resize(count);
  return made;
}

std::string Decode(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  const size_t bytes = tokenizer.Decode(ids.data(), ids.size(), true, nullptr, 0);
  std::string out(bytes, 0);
  tokenizer.Decode(ids.data(), ids.size(), true, out.data(), bytes);
  return out;
}

const char* const kTexts[] = {
    "",
    " ",
    "hello world's",
    "  hello   wo\n\n",
    "e\xcc\x81t\xc3\xa9 \xc3\xa9t\xc3\xa9 <b> x<|end|>",
    "\xed\x95\x9c\xea\xb8\x80 \xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab \xe4\xb8\x96\xe7\x95\x8c",
    "a\xcc\xa3\xcc\x81\xcc\xa3\xcc\x88\xcc\x81\xcc\xa3\xcc\xa3\xcc\x81",
    "\xf0\x9f\x91\xa9\xf0\x9f",
    "\xff\xfe\xc3",
    "abababababababababababababababababababababababababababababababababababababab",
    "HELLO, Worlds e\xcc\x81"
    "e <|end|><|end|><b>"};

TEST(GivesBackWhatItRead) {
  const Seed seed(g_folder, "pairs.text");
  REQUIRE(seed.size > 0);
  auto opened = Tokenizer::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  for (const char* given : {"hello world's", "  hello\n\n x", "\xc3\xa9\xe4\xb8\x96"}) {
    const Encoded made = Encode(*opened, given, 1 << 16);
    EXPECT_OK(made.status);
    EXPECT(Decode(*opened, made.ids) == given);
  }
  // Two characters that NFC makes one; the token's place is that of the first.
  const Encoded made = Encode(*opened, "e\xcc\x81", 1 << 16);
  EXPECT(made.ids.size() == 1 && made.offsets[0].begin == 0 && made.offsets[0].end == 1);
}

TEST(StreamsNeverShowHalfACharacter) {
  for (const char* name : {"pairs.text", "fallback.text"}) {
    const Seed seed(g_folder, name);
    auto opened = Tokenizer::Open(seed.bytes.get(), seed.size);
    REQUIRE(opened.ok());
    const std::string given = "hi \xf0\x9f\x91\xa9 \xe7\x95\x8c\xc3\xbc";
    const Encoded made = Encode(*opened, given, 1 << 16);
    std::vector<char> out(opened->StreamBytes());
    text::StreamState state = {};
    std::string shown;
    for (const int64_t id : made.ids) {
      shown.append(out.data(), opened->Push(&state, id, true, out.data()));
      uint32_t bad = 0;
      bool cut = false;
      for (size_t at = 0; at < shown.size();) {
        const auto* p = reinterpret_cast<const uint8_t*>(shown.data());
        const uint32_t bytes = text::ValidChar(p + at, p + shown.size(), &bad, &cut);
        REQUIRE(bytes > 0);
        at += bytes;
      }
    }
    shown.append(out.data(), opened->Finish(&state, out.data()));
    EXPECT(shown == given);
  }
}

TEST(SaysWhenScratchOrRoomAreTooSmall) {
  const Seed seed(g_folder, "fallback.text");
  auto opened = Tokenizer::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  const std::string given(500, 'a');
  bool refused = false, done = false;
  for (size_t scratch = 0; scratch < 40000; scratch += 331) {
    const Encoded made = Encode(*opened, given, scratch);
    refused |= made.status.code() == Code::kOutOfMemory;
    done |= made.status.ok();
    EXPECT(!(done && !made.status.ok()));
  }
  EXPECT(refused && done);
  std::vector<uint64_t> scratch(8000);
  int64_t ids[2] = {};
  text::TokenSink sink{ids, nullptr, 2, 0};
  EXPECT_OK(opened->Encode("a b", 3, {}, scratch.data(), scratch.size() * 8, &sink));
  EXPECT(sink.count > 2);
}

TEST(RefusesWhatIsCut) {
  const Seed seed(g_folder, "pieces.text");
  for (uint32_t size = 0; size < seed.size; size += 1 + seed.size / 300)
    EXPECT(!Tokenizer::Open(seed.bytes.get(), size).ok());
}

TEST(RefusesMemoryThatIsNotAligned) {
  const Seed seed(g_folder, "pairs.text");
  std::vector<uint64_t> memory(seed.size / 8 + 2);
  for (uint32_t shift = 0; shift < 8; ++shift) {
    uint8_t* const moved = reinterpret_cast<uint8_t*>(memory.data()) + shift;
    std::memcpy(moved, seed.bytes.get(), seed.size);
    auto opened = Tokenizer::Open(moved, seed.size);
    EXPECT(opened.ok() == (shift == 0));
    if (shift) EXPECT(std::strstr(opened.status().message(), "multiple of 8") != nullptr);
  }
}

TEST(SurvivesDamage) {
  unsigned opened_count = 0;
  for (const char* name : {"pairs.text", "fallback.text", "pieces.text", "scores.text"}) {
    const Seed seed(g_folder, name);
    REQUIRE(seed.size > 0);
    fuzz::ForDamaged(seed, [&](uint64_t number) {
      auto opened = Tokenizer::Open(seed.bytes.get(), seed.size);
      if (opened.ok()) {
        ++opened_count;
        for (const char* given : kTexts) {
          text::EncodeOptions options;
          options.unit = number & 1 ? text::Unit::kCharacters : text::Unit::kBytes;
          const Encoded made = Encode(*opened, given, 1 << 14, options);
          Decode(*opened, made.ids);
          std::vector<char> out(opened->StreamBytes());
          text::StreamState state = {};
          for (const int64_t id : made.ids) opened->Push(&state, id, false, out.data());
          opened->Finish(&state, out.data());
        }
      }
    });
  }
  EXPECT(opened_count > g_mutations / 4);
}

}  // namespace

int main(int argc, char** argv) {
  return smelt::fuzz::ReadArguments(argc, argv) ? smelt::testing::RunAll() : 2;
}
