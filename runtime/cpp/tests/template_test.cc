// Chat templates on small seeds (tests/text/template_seeds.py): what they give, and that damage to
// their code or to the JSON gives an error or a text, never a crash. Run under sanitizers.
//
//   template_test FOLDER [MUTATIONS] [FIRST]
#include "template/template.h"

#include <vector>

#include "tests/seed.h"
#include "tests/testing.h"

namespace {

using namespace smelt;
using chat::Template;
using fuzz::g_first;
using fuzz::g_folder;
using fuzz::g_mutations;
using fuzz::Seed;

struct Rendered {
  Status status;
  std::string text;
};

Rendered Render(const Template& code, const std::string& json, size_t scratch_bytes,
                chat::RenderOptions options = {}, size_t capacity = 1 << 16) {
  // Exactly as much as is allowed, so that sanitizers see a byte too many.
  std::unique_ptr<uint8_t, void (*)(void*)> scratch(
      static_cast<uint8_t*>(std::malloc(scratch_bytes)), std::free);
  std::unique_ptr<char[]> exact(new char[json.size()]), out(new char[capacity]);
  std::memcpy(exact.get(), json.data(), json.size());
  chat::TextSink sink{out.get(), capacity, 0};
  Rendered made;
  made.status = code.Render(exact.get(), json.size(), options, scratch.get(), scratch_bytes, &sink);
  made.text.assign(out.get(), sink.count < capacity ? sink.count : capacity);
  return made;
}

constexpr char kChat[] =
    R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "h\u00e9 \ud83d\ude00"},
    {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f",
    "arguments": {"a": [1, 2.5e3, true, "x"], "b": {}}}}]}, {"role": "tool", "content": "3"}],
    "tools": [{"function": {"name": "f", "parameters": {"type": "object", "properties": {
    "a": {"type": "array", "items": {"type": "string", "enum": ["p", "q"]}}}}}}],
    "add_generation_prompt": true})";

TEST(GivesThePrompt) {
  const Seed seed(g_folder, "thinking.chat");
  REQUIRE(seed.size > 0);
  auto opened = Template::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  const char* given = R"({"messages": [{"role": "user", "content": "hi \u00e9"}],
                          "add_generation_prompt": true})";
  const Rendered made = Render(*opened, given, Template::ScratchBytes(200));
  EXPECT_OK(made.status);
  EXPECT(made.text == "<|im_start|>user\nhi \xc3\xa9<|im_end|>\n<|im_start|>assistant\n");
}

TEST(SaysWhenScratchOrRoomAreTooSmall) {
  const Seed seed(g_folder, "typed.chat");
  auto opened = Template::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  bool refused = false, done = false;
  for (size_t scratch = 0; scratch < 100000; scratch += 977) {
    const Rendered made = Render(*opened, kChat, scratch);
    refused |= made.status.code() == Code::kOutOfMemory;
    done |= made.status.ok();
    EXPECT(!(done && !made.status.ok()));
  }
  EXPECT(refused && done);
  const std::string whole = Render(*opened, kChat, 1 << 20).text;
  for (size_t room = 0; room < whole.size(); room += 13)
    EXPECT(Render(*opened, kChat, 1 << 20, {}, room).text == whole.substr(0, room));
}

TEST(StopsAtItsBudget) {
  const Seed seed(g_folder, "everything.chat");
  auto opened = Template::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  chat::RenderOptions options;
  options.prepare = false;
  EXPECT_OK(Render(*opened, "{}", 1 << 20, options).status);
  options.steps = 10;
  EXPECT(Render(*opened, "{}", 1 << 20, options).status.code() == Code::kUnsupported);
}

TEST(RefusesWhatIsCut) {
  const Seed seed(g_folder, "typed.chat");
  for (uint32_t size = 0; size < seed.size; size += 1 + seed.size / 300)
    EXPECT(!Template::Open(seed.bytes.get(), size).ok());
  auto opened = Template::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  const std::string json = kChat;
  for (size_t size = 0; size < json.size(); ++size)
    EXPECT(!Render(*opened, json.substr(0, size), 1 << 18).status.ok());
}

TEST(ReadsBrokenJson) {
  const Seed seed(g_folder, "thinking.chat");
  auto opened = Template::Open(seed.bytes.get(), seed.size);
  REQUIRE(opened.ok());
  for (uint64_t number = g_first; number < g_first + g_mutations; ++number) {
    fuzz::Random random(number);
    std::string json = kChat;
    for (uint64_t n = 1 + random.Below(4); n; --n) {
      const size_t at = random.Below(json.size());
      static const char kSigns[] = "\"\\{}[]:,eE+-.0u\xc3\xff\n";
      json[at] = random.Below(2) ? kSigns[random.Below(sizeof kSigns - 1)]
                                 : static_cast<char>(random.Next());
    }
    chat::RenderOptions options;
    options.steps = 100000;
    (void)Render(*opened, json, 1 << 17, options).status.ok();
  }
}

TEST(SurvivesDamage) {
  unsigned opened_count = 0, rendered = 0;
  for (const char* name : {"everything.chat", "thinking.chat", "typed.chat"}) {
    const Seed seed(g_folder, name);
    REQUIRE(seed.size > 0);
    fuzz::ForDamaged(seed, [&](uint64_t number) {
      auto opened = Template::Open(seed.bytes.get(), seed.size);
      if (opened.ok()) {
        ++opened_count;
        chat::RenderOptions options;
        options.steps = 20000;
        options.prepare = number & 1;
        options.now = static_cast<int64_t>(number);
        rendered += Render(*opened, kChat, 1 << 17, options).status.ok();
      }
    });
  }
  EXPECT(opened_count > g_mutations / 4);
  EXPECT(rendered > g_mutations / 20);
}

}  // namespace

int main(int argc, char** argv) {
  return smelt::fuzz::ReadArguments(argc, argv) ? smelt::testing::RunAll() : 2;
}
