// 16 threads, each with sessions of its own over one model: generations give what they give alone,
// also beside cancelled ones, and memory stays what it is. Meant for ThreadSanitizer as well.
//   threads_test MODEL.smelt GENERATIONS
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "smelt/smelt.hpp"

namespace {

constexpr int kThreads = 16;
constexpr uint64_t kKinds = 64;  // different generations
using Tokens = std::vector<int64_t>;

uint64_t Mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

smelt_generation HowOf(uint64_t kind) {
  smelt_generation how = SMELT_GENERATION;
  how.seed = kind;
  how.temperature = kind % 4 ? 0.5 + static_cast<double>(kind % 3) : 0;
  if (kind % 4 == 1) how.top_p = 0.9;
  if (kind % 4 == 2) how.top_k = 7;
  if (kind % 3 == 1) how.repetition_penalty = 1.2;
  how.max_new_tokens = 1 + static_cast<int64_t>(kind % 9);
  return how;
}

Tokens PromptOf(uint64_t kind) {
  Tokens prompt;
  for (uint64_t i = 0; i <= Mixed(kind) % 6; ++i)
    prompt.push_back(static_cast<int64_t>(Mixed(kind * 100 + i) % 40));
  return prompt;
}

// With `cancel`, waits behind its first token until another thread has cancelled it.
smelt_code Run(smelt::Runner* runner, uint64_t kind, Tokens* made,
               std::atomic<bool>* cancel = nullptr) {
  made->clear();
  return runner->Generate(PromptOf(kind), HowOf(kind), [&](const smelt_token& token) {
    made->push_back(token.id);
    if (cancel && made->size() == 1) {
      *cancel = true;
      while (*cancel) std::this_thread::yield();
    }
    return true;
  });
}

// Kilobytes of resident memory; 0 where the system does not say.
long Resident() {
  long total = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident * 4;
}

// A session that another thread may cancel: the lock keeps it open meanwhile.
struct Shared {
  std::mutex lock;
  smelt::Runner* runner = nullptr;
  std::atomic<bool> is_asked{false};  // the generation waits to be cancelled
};

struct Counts {
  std::atomic<uint64_t> next{0};
  std::atomic<int> wrong{0}, whole{0}, cancelled{0};
  std::atomic<bool> done{false};
};

void Work(const smelt::ModelFile& model, uint64_t count, const std::vector<Tokens>& expected,
          Shared* shared, Counts* counts) {
  smelt_options options = SMELT_OPTIONS;
  smelt::Runner runner;
  uint64_t opened = 0;
  Tokens made;
  made.reserve(64);
  for (;;) {
    const uint64_t number = counts->next.fetch_add(1);
    if (number >= count) break;
    if (opened++ % 50 == 0) {  // sessions come and go as well
      options.threads = 1 + static_cast<int>(opened / 50 % 2);
      smelt::Runner fresh;
      if (fresh.Open(model, options) != SMELT_OK) ++counts->wrong;
      const std::lock_guard<std::mutex> hold(shared->lock);
      runner = std::move(fresh);
      shared->runner = &runner;
    }
    const uint64_t kind = Mixed(number) % kKinds;
    const bool is_cancelled = number % 8 == 0;
    const smelt_code code = Run(&runner, kind, &made, is_cancelled ? &shared->is_asked : nullptr);
    const Tokens& wanted = expected[kind];
    const bool begins =
        made.size() <= wanted.size() && std::equal(made.begin(), made.end(), wanted.begin());
    if (code == SMELT_CANCELLED && begins)
      ++counts->cancelled;
    else if (code == SMELT_OK && made == wanted)
      ++counts->whole;
    else
      ++counts->wrong;
  }
  const std::lock_guard<std::mutex> hold(shared->lock);
  shared->runner = nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const uint64_t count = std::strtoull(argv[2], nullptr, 10);
  smelt::ModelFile model;
  if (model.Open(argv[1]) != SMELT_OK) return std::fprintf(stderr, "%s\n", smelt::Message()), 1;
  std::vector<Tokens> expected(kKinds);
  {
    smelt::Runner alone;
    if (alone.Open(model) != SMELT_OK) return 1;
    for (uint64_t kind = 0; kind < kKinds; ++kind) {
      if (Run(&alone, kind, &expected[kind]) != SMELT_OK) return 1;
    }
  }
  Counts counts;
  std::vector<Shared> shared(kThreads);
  std::vector<std::thread> threads;
  for (Shared& one : shared) {
    threads.emplace_back(Work, std::cref(model), count, std::cref(expected), &one, &counts);
  }
  long early = 0;
  std::thread canceller([&] {
    for (uint64_t round = 0; !counts.done; ++round) {
      for (size_t i = 0; i < shared.size(); ++i) {
        const std::lock_guard<std::mutex> hold(shared[i].lock);
        const bool is_asked = shared[i].is_asked;
        if (shared[i].runner && (is_asked || round % 16 == 0)) shared[i].runner->Cancel();
        if (is_asked) shared[i].is_asked = false;
      }
      if (!early && counts.next > count / 4) early = Resident();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  for (std::thread& thread : threads) thread.join();
  const long late = Resident();
  counts.done = true;
  canceller.join();
  std::printf(
      "%d generations as alone, %d cancelled, %d wrong; %ld kB after a quarter, %ld at the "
      "end\n",
      counts.whole.load(), counts.cancelled.load(), counts.wrong.load(), early, late);
  if (counts.wrong || counts.whole + counts.cancelled != static_cast<int>(count)) return 1;
  if (counts.cancelled < static_cast<int>(count / 16))
    return std::fprintf(stderr, "few were cancelled\n"), 1;
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  if (early && late > early + early / 10 + 1024) return std::fprintf(stderr, "memory grew\n"), 1;
#endif
  return 0;
}
