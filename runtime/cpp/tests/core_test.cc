// Models, sessions and state on the decoder of tests/seeds: a mixture in int4 over rings of int8.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <thread>

#include "core/crc32.h"
#include "generation/generator.h"
#include "smelt/smelt.hpp"
#include "tests/core_model.h"
#include "tests/testing.h"

namespace {

using namespace smelt;
using namespace smelt::testing;

constexpr int64_t kContext = 16, kChunk = 8;

Options Small(int64_t batch = 1, int threads = 1, int64_t chunk = kChunk) {
  Options options;
  options.threads = threads;
  options.context = kContext;
  options.limits = {{"batch", batch}, {"seq", chunk}};
  return options;
}

std::unique_ptr<Session> OpenSession(const Options& options) {
  Result<std::unique_ptr<Session>> session = Session::Open(OpenSeed(), options);
  EXPECT_OK(session.status());
  return session.ok() ? std::move(*session) : nullptr;
}

const std::vector<int64_t> kPrompt = {3, 7, 1, 9, 4, 11, 2};

bool Close(const std::vector<float>& a, const std::vector<float>& b, float most) {
  float worst = 0.0f, scale = 0.0f;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    worst = std::fmax(worst, std::fabs(a[i] - b[i]));
    scale = std::fmax(scale, std::fabs(b[i]));
  }
  return a.size() == b.size() && worst <= most * scale;
}

TEST(Crc32AgreesWithZlib) {
  EXPECT(Crc32(0, "123456789", 9) == 0xcbf43926u);
  EXPECT(Crc32(Crc32(0, "12345", 5), "6789", 4) == 0xcbf43926u);
}

TEST(TruncatedFilesAreRefused) {
  Bytes whole = Bytes::Read("decoder.smelt");
  for (size_t size = 0; size < whole.size(); size += size < 1000 ? 1 : 61) {
    EXPECT(!Model::Borrow(whole.data(), size).ok());
  }
  EXPECT(Model::Borrow(whole.data(), whole.size()).ok());
}

TEST(EveryFlippedByteIsFoundByVerify) {
  Bytes whole = Bytes::Read("decoder.smelt");
  for (size_t at = 0; at < whole.size(); at += 37) {
    whole.data()[at] ^= 0x10;
    Result<Model::Pointer> model = Model::Borrow(whole.data(), whole.size());
    EXPECT(!model.ok() || !(*model)->VerifyChecksums().ok());
    whole.data()[at] ^= 0x10;
  }
  Result<Model::Pointer> model = Model::Borrow(whole.data(), whole.size());
  REQUIRE(model.ok());
  EXPECT_OK((*model)->VerifyChecksums());
}

TEST(ADamagedWeightIsNamed) {
  Bytes whole = Bytes::Read("decoder.smelt");
  Result<Model::Pointer> model = Model::Borrow(whole.data(), whole.size());
  REQUIRE(model.ok());
  const WeightRecord& weight = (*model)->weights[1];
  const_cast<uint8_t*>((*model)->WeightData(weight))[0] ^= 1;
  const Status status = (*model)->VerifyChecksums();
  EXPECT(std::strstr(status.message(), (*model)->Text(weight.name)) != nullptr);
}

TEST(AMissingFeatureIsNamed) {
  Bytes whole = Bytes::Read("decoder.smelt");
  Result<Model::Pointer> model = Model::Borrow(whole.data(), whole.size());
  REQUIRE(model.ok());
  const_cast<char*>((*model)->Text((*model)->features[0].name))[0] = 'x';
  Result<Model::Pointer> again = Model::Borrow(whole.data(), whole.size());
  EXPECT(!again.ok() && again.status().code() == Code::kUnsupported);
  EXPECT(std::strstr(again.status().message(), "xore.2") != nullptr);
}

TEST(ChunksGiveWhatOneCallGives) {
  auto whole = OpenSession(Small());
  REQUIRE(whole);
  const Fed expected = Feed(whole.get(), kPrompt);
  EXPECT_OK(expected.status);
  for (size_t cut = 1; cut < kPrompt.size(); ++cut) {
    auto session = OpenSession(Small());
    REQUIRE(session);
    EXPECT_OK(
        Feed(session.get(), {kPrompt.begin(), kPrompt.begin() + static_cast<long>(cut)}).status);
    const Fed rest = Feed(session.get(), {kPrompt.begin() + static_cast<long>(cut), kPrompt.end()});
    EXPECT_OK(rest.status);
    EXPECT(Close(rest.logits, expected.logits, 1e-5f));
    EXPECT(session->past() == static_cast<int64_t>(kPrompt.size()));
  }
}

TEST(EveryLengthFitsTheScratchMemory) {
  for (int threads : {1, 3}) {
    auto session = OpenSession(Small(3, threads, kContext));
    REQUIRE(session);
    for (int64_t length = 1; length <= kContext; ++length) {
      for (int64_t rows = 1; rows <= 3; ++rows) {
        session->Reset();
        EXPECT_OK(
            Feed(session.get(), std::vector<int64_t>(static_cast<size_t>(length * rows), 3), rows)
                .status);
      }
    }
  }
}

TEST(ThreadsDoNotChangeResults) {
  auto one = OpenSession(Small(2));
  auto four = OpenSession(Small(2, 4));
  REQUIRE(one && four);
  const std::vector<int64_t> ids = {1, 2, 3, 4, 5, 6};
  for (int step = 0; step < 3; ++step) {
    EXPECT(Feed(one.get(), ids, 2).logits == Feed(four.get(), ids, 2).logits);
  }
}

TEST(SessionsShareAModelAndNothingElse) {
  Model::Pointer model = OpenSeed();
  auto a = Session::Open(model, Small());
  auto b = Session::Open(model, Small());
  REQUIRE(a.ok() && b.ok());
  Feed(a->get(), {1, 2, 3});
  const Fed first = Feed(b->get(), kPrompt);
  a->get()->Reset();
  EXPECT(Feed(a->get(), kPrompt).logits == first.logits);
  std::vector<std::thread> threads;
  std::atomic<int> differ{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto session = Session::Open(model, Small());
      for (int turn = 0; turn < 8 && session.ok(); ++turn) {
        (*session)->Reset();
        if (Feed(session->get(), kPrompt).logits != first.logits) ++differ;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT(differ == 0);
}

TEST(ResetForgetsEverything) {
  auto session = OpenSession(Small(3));
  REQUIRE(session);
  const Fed first = Feed(session.get(), kPrompt);
  session->Reset();
  EXPECT(session->past() == 0);
  EXPECT_OK(Feed(session.get(), {1, 2, 3, 4, 5, 6}, 3).status);  // another batch
  session->Reset();
  EXPECT(Feed(session.get(), kPrompt).logits == first.logits);
}

TEST(RewindGoesBackWhileTheWindowAllows) {
  auto session = OpenSession(Small());
  REQUIRE(session);
  Feed(session.get(), kPrompt);
  const Fed next = Feed(session.get(), {5});
  EXPECT_OK(session->Rewind(session->past() - 1));
  EXPECT(Feed(session.get(), {5}).logits == next.logits);
  EXPECT(session->Rewind(session->past() + 1).code() == Code::kInvalidArgument);
  EXPECT(session->Rewind(-1).code() == Code::kInvalidArgument);
  for (int i = 0; i < 6; ++i) EXPECT_OK(Feed(session.get(), {6}).status);
  // The ring has room for window - 1 + chunk entries: what lies further back is gone.
  EXPECT(session->Rewind(1).code() == Code::kState);
}

TEST(ReorderGathersRows) {
  auto session = OpenSession(Small(3));
  auto other = OpenSession(Small(3));
  REQUIRE(session && other);
  Feed(session.get(), {1, 2, 3, 4, 5, 6}, 3);
  const int64_t rows[] = {2, 0, 2};
  EXPECT_OK(session->Reorder(rows, 3));
  Feed(other.get(), {5, 6, 1, 2, 5, 6}, 3);
  EXPECT(Feed(session.get(), {7, 8, 9}, 3).logits == Feed(other.get(), {7, 8, 9}, 3).logits);
  const int64_t outside[] = {0, 3, 1};
  EXPECT(session->Reorder(outside, 3).code() == Code::kOutOfRange);
  const int64_t many[] = {0, 0, 0, 0};
  EXPECT(!session->Reorder(many, 4).ok());
}

TEST(StateReadsOldestFirst) {
  auto session = OpenSession(Small());
  REQUIRE(session);
  Feed(session.get(), kPrompt);
  const SlotState& slot = session->slot(0);
  const int64_t heads = slot.dims[1], entries = slot.readable(), dim = slot.dims[3];
  std::vector<float> now(static_cast<size_t>(heads * entries * dim));
  EXPECT_OK(session->ReadState(0, now.data(), static_cast<int64_t>(now.size() * 4)));
  EXPECT(!session->ReadState(0, now.data(), 4).ok());
  Feed(session.get(), {5});
  std::vector<float> later(now.size());
  EXPECT_OK(session->ReadState(0, later.data(), static_cast<int64_t>(later.size() * 4)));
  // A window is full: everything moved up by one.
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i + 1 < entries; ++i) {
      const auto at = static_cast<size_t>((h * entries + i) * dim),
                 after = at + static_cast<size_t>(dim);
      EXPECT(std::memcmp(&later[at], &now[after], static_cast<size_t>(dim) * 4) == 0);
    }
  }
}

TEST(WrongCallsAreErrorsAndChangeNothing) {
  auto session = OpenSession(Small());
  REQUIRE(session);
  Feed(session.get(), {1, 2});
  const std::vector<int64_t> long_text(static_cast<size_t>(kChunk) + 1, 1);
  EXPECT(Feed(session.get(), long_text).status.code() == Code::kInvalidArgument);
  EXPECT(Feed(session.get(), {1, 2}, 2).status.code() == Code::kInvalidArgument);  // batch
  EXPECT(Feed(session.get(), {1, 100000}).status.code() == Code::kOutOfRange);     // no such token
  EXPECT(session->Run(7, nullptr, 0).code() == Code::kInvalidArgument);
  EXPECT(session->Run(0, nullptr, 0).code() == Code::kInvalidArgument);
  EXPECT(session->past() == 2);
  for (int i = 2; i < kContext; ++i) EXPECT_OK(Feed(session.get(), {1}).status);
  const Fed over = Feed(session.get(), {1});
  EXPECT(over.status.code() == Code::kInvalidArgument);
  EXPECT(session->past() == kContext);
}

TEST(MemoryIsWhatWasMeasured) {
  Model::Pointer model = OpenSeed();
  Options options = Small();
  auto need = Session::Measure(model, options);
  REQUIRE(need.ok());
  Bytes memory(static_cast<size_t>(need->total()));
  options.memory = memory.data();
  options.memory_bytes = need->total() - 1;
  EXPECT(Session::Open(model, options).status().code() == Code::kInvalidArgument);
  options.memory_bytes = need->total();
  auto session = Session::Open(model, options);
  REQUIRE(session.ok());
  auto own = OpenSession(Small());
  EXPECT(Feed(session->get(), kPrompt).logits == Feed(own.get(), kPrompt).logits);
  auto larger = Session::Measure(model, Small(4));
  REQUIRE(larger.ok());
  EXPECT(larger->state > 3 * need->state);  // about 4 times: each slot ends at a multiple of 64
}

TEST(NothingAllocatesAfterOpen) {
  auto session = OpenSession(Small(2, 2));
  REQUIRE(session);
  EXPECT(Feed(session.get(), {1, 2, 3, 4, 5, 6}, 2).allocations == 0);
  for (int i = 0; i < 8; ++i) EXPECT(Feed(session.get(), {7, 8}, 2).allocations == 0);
  EXPECT(Feed(session.get(), {1, 100000}, 2).allocations > 0);  // an error's message is counted
}

TEST(GenerateIsTheArgmaxOfEachStep) {
  auto session = OpenSession(Small(1, 1, 3));  // the prompt takes three chunks
  auto other = OpenSession(Small());
  REQUIRE(session && other);
  auto generator = generation::Generator::Make(session.get());
  REQUIRE(generator.ok());
  std::vector<int64_t> made, expected;
  smelt_generation how = SMELT_GENERATION;
  how.max_new_tokens = 6;
  EXPECT_OK(generator->Run(
      kPrompt.data(), kPrompt.size(), &how, nullptr,
      [](void* to, const smelt_token* token) {
        static_cast<std::vector<int64_t>*>(to)->push_back(token->id);
        return 0;
      },
      &made, std::atomic<bool>(false)));
  Fed fed = Feed(other.get(), kPrompt);
  while (expected.size() < 6) {
    expected.push_back(std::max_element(fed.logits.begin(), fed.logits.end()) - fed.logits.begin());
    fed = Feed(other.get(), {expected.back()});
  }
  EXPECT(made == expected);
}

TEST(ABudgetIsCheckedBeforeMemoryIsTaken) {
  Options options;
  Result<MemoryUse> use = Session::Measure(OpenSeed(), options);
  REQUIRE(use.ok());
  options.max_memory = use->resident();
  EXPECT(Session::Open(OpenSeed(), options).ok());
  --options.max_memory;
  Result<std::unique_ptr<Session>> refused = Session::Open(OpenSeed(), options);
  REQUIRE(!refused.ok());
  EXPECT(refused.status().code() == Code::kOutOfMemory);
  for (int64_t number : {use->resident(), options.max_memory}) {
    EXPECT(std::strstr(refused.status().message(), std::to_string(number).c_str()) != nullptr);
  }
}

TEST(LogitsOfTheLastRowsAreThoseOfAllRows) {
  const Model::Pointer model = OpenSeed();
  const uint32_t f = model->FindFunction("main");
  const std::vector<int64_t> ids = {1, 5, 2, 7, 3};
  std::vector<float> all;
  for (int64_t rows : {5, 3, 1}) {
    Options options;
    options.limits = {{"last", 5}};
    Result<std::unique_ptr<Session>> session = Session::Open(model, options);
    REQUIRE(session.ok());
    (*session)->Ask(rows);
    EXPECT_OK(Feed(session->get(), ids).status);
    const View& logits = (*session)->Output(f, 0);
    REQUIRE(logits.rank == 3 && logits.contiguous && logits.dims[1] == rows);
    const int64_t width = logits.last();
    if (rows == 5) all.assign(logits.f32(), logits.f32() + logits.count);
    const float* same = all.data() + (5 - rows) * width;
    for (int64_t i = 0; i < rows * width; ++i) EXPECT(std::fabs(same[i] - logits.f32()[i]) < 1e-5f);
  }
  Result<std::unique_ptr<Session>> session = Session::Open(model, Options());
  REQUIRE(session.ok());
  EXPECT_OK(Feed(session->get(), ids).status);
  EXPECT((*session)->Output(f, 0).dims[1] == 1);  // as the file says
  (*session)->Ask(0);
  EXPECT(!Feed(session->get(), {4}).status.ok());
}

TEST(TheCApiSaysWhatIsWrong) {
  EXPECT(smelt_abi() == SMELT_ABI);
  smelt::ModelFile file;
  EXPECT(file.Open("/nowhere/model.smelt") == SMELT_IO);
  EXPECT(std::strstr(smelt::Message(), "/nowhere/model.smelt") != nullptr);
  const std::string path = std::string(SeedFolder()) + "/decoder.smelt";
  REQUIRE(file.Open(path.c_str()) == SMELT_OK);
  EXPECT(std::strcmp(smelt_function_name(file.get(), 0), "main") == 0);
  EXPECT(std::strcmp(smelt_input_name(file.get(), 0, 0), "input_ids") == 0);
  EXPECT(smelt_input_name(file.get(), 0, 99) == nullptr &&
         smelt_output_name(file.get(), 9, 0) == nullptr);
  smelt_options options = SMELT_OPTIONS;
  options.struct_bytes = 1;
  smelt::Runner runner;
  EXPECT(runner.Open(file, options) == SMELT_INVALID_ARGUMENT);
  options = SMELT_OPTIONS;
  REQUIRE(runner.Open(file, options) == SMELT_OK);
  size_t count = 0;
  smelt_generation how = SMELT_GENERATION;
  how.max_new_tokens = 5;
  EXPECT(runner.Generate(kPrompt, how, [&](const smelt_token&) { return ++count < 2; }) ==
         SMELT_OK);
  EXPECT(count == 2);
  EXPECT(smelt_session_most(runner.get(), "nothing") == -1);
  const void* data = nullptr;
  size_t bytes = 0;
  EXPECT(smelt_model_file(file.get(), "manifest.json", &data, &bytes) == SMELT_OK && bytes > 2);
  EXPECT(smelt_model_file(file.get(), "absent", &data, &bytes) == SMELT_INVALID_ARGUMENT);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s SEED_FOLDER\n", argv[0]);
    return 2;
  }
  SeedFolder() = argv[1];
  return RunAll();
}
