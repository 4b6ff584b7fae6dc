// Continuous batching over the decoder of tests/seeds: random arrivals, lengths and cancellations
// give what each request gives alone; a full queue, hostile input and closing say what they are.
//   batch_test SEEDS
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "batch/batcher.h"
#include "generation/generator.h"
#include "smelt/smelt.h"
#include "tests/core_model.h"
#include "tests/testing.h"

namespace smelt::testing {
namespace {

constexpr int64_t kContext = 24;

// What a batch said of each request.
struct Log {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<int64_t, std::vector<int64_t>> tokens;
  std::map<int64_t, smelt_finish> finishes;
  std::map<int64_t, smelt_code> errors;
  int64_t ended = 0, again = 0;  // again: events behind a last one

  static void Take(void* self, const smelt_batch_event* events, size_t count) {
    Log& log = *static_cast<Log*>(self);
    std::lock_guard<std::mutex> lock(log.mutex);
    for (size_t i = 0; i < count; ++i) {
      const smelt_batch_event& e = events[i];
      log.again += log.finishes.count(e.request) != 0;
      if (e.token.id >= 0) log.tokens[e.request].push_back(e.token.id);
      if (e.token.finish == SMELT_UNFINISHED) continue;
      log.finishes[e.request] = e.token.finish;
      log.errors[e.request] = e.error;
      ++log.ended;
    }
    log.changed.notify_all();
  }
  int64_t Ended() {
    std::lock_guard<std::mutex> lock(mutex);
    return ended;
  }
  void Wait(int64_t count) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return ended >= count; });
  }
};

batch::Options Sizes(int64_t rows, int threads, int64_t chunk = 3) {
  batch::Options options;
  options.rows = rows;
  options.threads = threads;
  options.context = kContext;
  options.chunk = chunk;
  return options;
}

smelt_generation How(int64_t most) {
  smelt_generation how = SMELT_GENERATION;
  how.max_new_tokens = most;
  how.temperature = 0;
  return how;
}

std::vector<int64_t> Alone(const Model::Pointer& model, const std::vector<int64_t>& prompt,
                           const smelt_generation& how) {
  Options options;
  options.context = kContext;
  auto session = Session::Open(model, options);
  EXPECT_OK(session.status());
  auto generator = generation::Generator::Make(session->get());
  EXPECT_OK(generator.status());
  std::vector<int64_t> found;
  const std::atomic<bool> cancelled{false};
  EXPECT_OK(generator->Run(
      prompt.data(), prompt.size(), &how, nullptr,
      [](void* to, const smelt_token* token) {
        static_cast<std::vector<int64_t>*>(to)->push_back(token->id);
        return 0;
      },
      &found, cancelled));
  return found;
}

void RandomArrivals(const Model::Pointer& model, int64_t vocabulary, uint32_t seed) {
  std::mt19937 draw(seed);
  const auto below = [&](uint32_t n) { return static_cast<int64_t>(draw() % n); };
  Log log;
  // Pieces of one prompt in a step, or several prompts.
  const batch::Options sizes = Sizes(1 + below(5), 1 + seed % 2, seed % 3 ? 3 : 40);
  auto batch = batch::Batcher::Open(model, sizes, Log::Take, &log);
  EXPECT_OK(batch.status());
  if (!batch.ok()) return;
  struct Asked {
    std::vector<int64_t> prompt;
    smelt_generation how;
    bool cancelled;
  };
  std::map<int64_t, Asked> asked;
  std::vector<int64_t> common(6);
  for (int64_t& id : common) id = below(static_cast<uint32_t>(vocabulary));
  for (int i = 0; i < 40; ++i) {
    Asked one{{}, How(1 + below(12)), false};
    if (below(2)) one.prompt.assign(common.begin(), common.begin() + below(7));
    for (int64_t n = 1 + below(8); n > 0; --n)
      one.prompt.push_back(below(static_cast<uint32_t>(vocabulary)));
    int64_t request = 0;
    EXPECT_OK((*batch)->Submit(one.prompt.data(), one.prompt.size(), &one.how, nullptr, &request));
    asked.emplace(request, one);
    if (below(4) == 0) {
      const int64_t victim = 1 + below(static_cast<uint32_t>(request));
      asked.at(victim).cancelled = true;
      (*batch)->Cancel(victim);
    }
    if (below(3) == 0) log.Wait(below(static_cast<uint32_t>(log.Ended() + 1)));
  }
  EXPECT_OK((*batch)->Close(true));
  EXPECT(log.ended == static_cast<int64_t>(asked.size()) && log.again == 0);
  for (const auto& [request, one] : asked) {
    const std::vector<int64_t> want = Alone(model, one.prompt, one.how);
    std::vector<int64_t> got = log.tokens[request];
    EXPECT(log.errors[request] == SMELT_OK);
    if (log.finishes[request] == SMELT_STOPPED) {  // as far as it came
      EXPECT(one.cancelled && got.size() <= want.size());
      got.insert(got.end(), want.begin() + static_cast<int64_t>(got.size()), want.end());
    }
    EXPECT(got == want);
  }
  const smelt_batch_stats stats = (*batch)->Stats();
  EXPECT(stats.finished + stats.cancelled == static_cast<int64_t>(asked.size()));
  EXPECT(stats.running == 0 && stats.waiting == 0 && stats.failed == 0);
}

void Refusals(const Model::Pointer& model, int64_t vocabulary) {
  Log log;
  batch::Options sizes = Sizes(1, 1);
  sizes.waiting = 2;
  auto opened = batch::Batcher::Open(model, sizes, Log::Take, &log);
  EXPECT_OK(opened.status());
  batch::Batcher& batch = **opened;
  const smelt_generation how = How(4);
  int64_t request = 0;
  const auto code = [&](const std::vector<int64_t>& prompt, const smelt_generation& asked) {
    return batch.Submit(prompt.data(), prompt.size(), &asked, nullptr, &request).code();
  };
  EXPECT(code({}, how) == Code::kInvalidArgument);
  EXPECT(code({vocabulary}, how) == Code::kInvalidArgument);
  EXPECT(code({-1}, how) == Code::kInvalidArgument);
  EXPECT(code(std::vector<int64_t>(kContext + 1, 1), how) == Code::kInvalidArgument);
  smelt_generation bad = how;
  bad.repetition_penalty = -1;
  EXPECT(code({1}, bad) == Code::kInvalidArgument);
  for (int64_t other : {int64_t{-5}, int64_t{0}, int64_t{99}, INT64_MAX}) batch.Cancel(other);
  {
    // The worker cannot deliver, so that the queue fills.
    std::lock_guard<std::mutex> lock(log.mutex);
    int busy = 0;
    for (int i = 0; i < 20; ++i) busy += code({1, 2}, how) == Code::kBusy;
    EXPECT(busy >= 17);
  }
  EXPECT_OK(batch.Close(true));
  EXPECT(code({1}, how) == Code::kState);
  EXPECT_OK(batch.Close(false));
  sizes.rows = 0;
  EXPECT(batch::Batcher::Open(model, sizes, Log::Take, &log).status().code() ==
         Code::kInvalidArgument);
  sizes = Sizes(int64_t{1} << 40, 1);
  EXPECT(!batch::Batcher::Open(model, sizes, Log::Take, &log).ok());
}

void InC() {
  const std::string path = std::string(SeedFolder()) + "/decoder.smelt";
  smelt_model* model = nullptr;
  EXPECT(smelt_model_open(path.c_str(), &model) == SMELT_OK);
  Log log;
  smelt_batch* batch = nullptr;
  smelt_batch_options sizes = SMELT_BATCH_OPTIONS;
  sizes.struct_bytes = 4;
  EXPECT(smelt_batch_open(model, &sizes, Log::Take, &log, &batch) == SMELT_INVALID_ARGUMENT);
  EXPECT(std::string(smelt_error()).find("smelt_batch_options has 4 bytes") == 0);
  sizes = SMELT_BATCH_OPTIONS;
  sizes.context = kContext;
  sizes.rows = 2;
  EXPECT(smelt_batch_open(model, &sizes, Log::Take, &log, &batch) == SMELT_OK);
  const std::vector<int64_t> prompt = {3, 1, 4, 1, 5};
  const smelt_generation how = How(6);
  int64_t requests[4] = {};
  for (int64_t& request : requests) {
    EXPECT(smelt_batch_submit(batch, prompt.data(), prompt.size(), &how, &request) == SMELT_OK);
  }
  smelt_batch_cancel(batch, requests[3]);
  EXPECT(smelt_batch_submit(batch, nullptr, 0, &how, &requests[3]) == SMELT_INVALID_ARGUMENT);
  smelt_memory memory = {};
  smelt_batch_memory(batch, &memory);
  EXPECT(memory.state > 0);
  log.Wait(4);
  smelt_batch_stats stats = {};
  smelt_batch_read_stats(batch, &stats);
  EXPECT(stats.rows == 2 && stats.finished + stats.cancelled == 4 && stats.failed == 0);
  EXPECT(smelt_batch_close(batch, 1) == SMELT_OK);
  for (int i = 0; i < 3; ++i) EXPECT(log.tokens[requests[i]] == log.tokens[requests[0]]);
  EXPECT(log.tokens[requests[0]].size() == 6);
  smelt_model_close(model);
}

TEST(RequestsThatComeAndGoGetWhatTheyGetAlone) {
  const Model::Pointer model = OpenSeed();
  REQUIRE(model);
  const int64_t vocabulary = generation::VocabularyOf(*model);
  for (uint32_t seed = 0; seed < 6; ++seed) RandomArrivals(model, vocabulary, seed);
}

TEST(WhatCannotBeIsRefused) {
  const Model::Pointer model = OpenSeed();
  REQUIRE(model);
  Refusals(model, generation::VocabularyOf(*model));
}

TEST(TheCInterfaceDoesTheSame) { InC(); }

}  // namespace
}  // namespace smelt::testing

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  smelt::testing::SeedFolder() = argv[1];
  return smelt::testing::RunAll();
}
