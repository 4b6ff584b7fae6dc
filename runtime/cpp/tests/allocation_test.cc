// Nothing allocates after open: every way to get memory is counted, on every thread, while a model
// generates. And what open takes is what Measure said, in one piece.
//   allocation_test MODEL.smelt TOKENS [CONTEXT]
// The allocator is replaced by counting functions in front of glibc's; under AddressSanitizer,
// which replaces it itself, by its hooks.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "batch/batcher.h"
#include "core/session.h"
#include "generation/generator.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> count{0}, largest{0};

[[maybe_unused]] void Note(size_t bytes) {
  if (!counting.load(std::memory_order_relaxed)) return;
  count.fetch_add(1, std::memory_order_relaxed);
  int64_t seen = largest.load();
  while (static_cast<int64_t>(bytes) > seen &&
         !largest.compare_exchange_weak(seen, static_cast<int64_t>(bytes))) {
  }
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));
static bool InstallCounter() {
  return __sanitizer_install_malloc_and_free_hooks(
             [](const volatile void*, size_t bytes) { Note(bytes); },
             [](const volatile void*) {}) != 0;
}
#elif defined(__GLIBC__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) noexcept { return Note(bytes), __libc_malloc(bytes); }
void* calloc(size_t n, size_t bytes) noexcept { return Note(n * bytes), __libc_calloc(n, bytes); }
void* realloc(void* p, size_t bytes) noexcept { return Note(bytes), __libc_realloc(p, bytes); }
void* memalign(size_t align, size_t bytes) noexcept {
  return Note(bytes), __libc_memalign(align, bytes);
}
void* aligned_alloc(size_t align, size_t bytes) noexcept {
  return Note(bytes), __libc_memalign(align, bytes);
}
int posix_memalign(void** out, size_t align, size_t bytes) noexcept {
  Note(bytes);
  *out = __libc_memalign(align, bytes);
  return *out ? 0 : ENOMEM;
}
void* mmap(void* at, size_t bytes, int protect, int flags, int file, off_t offset) noexcept {
  Note(bytes);
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, bytes, protect, flags, file, offset));
}
}
static bool InstallCounter() { return true; }
#else
static bool InstallCounter() { return false; }
#endif

namespace {

#define REQUIRE(condition, ...)               \
  do {                                        \
    if (!(condition)) {                       \
      std::fprintf(stderr, "%d: ", __LINE__); \
      std::fprintf(stderr, __VA_ARGS__);      \
      std::fprintf(stderr, "\n");             \
      return 1;                               \
    }                                         \
  } while (0)

constexpr int64_t kRequests = 9;

int Check(const char* path, int64_t tokens, int64_t context, int threads) {
  smelt::Result<smelt::Model::Pointer> model = smelt::Model::Open(path);
  REQUIRE(model.ok(), "%s", model.status().message());
  smelt::Options options;
  options.threads = threads;
  options.context = context;
  smelt::Result<smelt::MemoryUse> plan = smelt::Session::Measure(*model, options);
  REQUIRE(plan.ok(), "%s", plan.status().message());

  largest = 0;
  counting = true;
  smelt::Result<std::unique_ptr<smelt::Session>> opened = smelt::Session::Open(*model, options);
  counting = false;
  REQUIRE(opened.ok(), "%s", opened.status().message());
  smelt::Session& session = **opened;
  REQUIRE(session.memory().total() == plan->total(), "planned %lld bytes, took %lld",
          static_cast<long long>(plan->total()), static_cast<long long>(session.memory().total()));
  // Tables of views and calls are taken as well; the arena is the one large piece.
  REQUIRE(largest.load() >= plan->total(), "no piece of %lld bytes was taken",
          static_cast<long long>(plan->total()));
  using smelt::generation::Generator;
  smelt::Result<Generator> generator = Generator::Make(&session);
  REQUIRE(generator.ok(), "%s", generator.status().message());

  smelt_generation plain = SMELT_GENERATION, full = SMELT_GENERATION;
  plain.temperature = 0;
  full.temperature = 2;
  full.top_p = 0.99;
  full.min_p = 1e-6;
  full.typical_p = 0.99;
  full.eta_cutoff = 1e-6;
  full.repetition_penalty = 1.1;
  full.frequency_penalty = full.presence_penalty = 0.01;
  full.no_repeat_ngram_size = 8;
  full.watermark_bias = 1;
  full.logprobs = 3;
  int64_t made = 0;
  count = largest = 0;
  for (const smelt_generation& each : {plain, full}) {
    smelt_generation how = each;
    bool is_warm = each.temperature == 0;  // other settings take their memory in their first call
    const int64_t goal = made + tokens / 2;
    while (made < goal) {
      const int64_t prompt[3] = {1, 3, 2};
      how.max_new_tokens = std::max<int64_t>(1, std::min(session.context() - 4, goal - made));
      auto counted = [](void* sum, const smelt_token*) { return ++*static_cast<int64_t*>(sum), 0; };
      if (is_warm) counting = true;
      const smelt::Status status =
          generator->Run(prompt, 3, &how, nullptr, counted, &made, std::atomic<bool>(false));
      if (status.ok() && session.past() > 2 && session.Rewind(session.past() - 1).ok()) ++made;
      session.Reset();
      counting = false;
      REQUIRE(status.ok(), "%s", status.message());
      is_warm = true;
    }
  }
  REQUIRE(count.load() == 0, "%lld allocations during %lld tokens, the largest of %lld bytes",
          static_cast<long long>(count.load()), static_cast<long long>(made),
          static_cast<long long>(largest.load()));
  std::printf("%lld tokens on %d thread(s), nothing allocated after open; arena %lld bytes\n",
              static_cast<long long>(made), threads, static_cast<long long>(plan->total()));
  return 0;
}

// What a batch's worker does while requests get rows, share beginnings and end.
struct Watched {
  std::atomic<bool> is_ready{false};
  int64_t tokens = 0;
  std::atomic<int64_t> ended{0};
};

void Watch(void* context, const smelt_batch_event* events, size_t events_count) {
  Watched& watched = *static_cast<Watched*>(context);
  while (!watched.is_ready) sched_yield();
  counting = true;
  for (size_t i = 0; i < events_count; ++i) {
    watched.tokens += events[i].token.id >= 0;
    if (events[i].token.finish != SMELT_UNFINISHED && ++watched.ended == kRequests)
      counting = false;
  }
}

int CheckBatch(const char* path, int64_t context, int threads) {
  smelt::Result<smelt::Model::Pointer> model = smelt::Model::Open(path);
  REQUIRE(model.ok(), "%s", model.status().message());
  smelt::batch::Options options;
  options.rows = 3;
  options.chunk = 2;
  options.context = context;
  options.threads = threads;
  Watched watched;
  auto batch = smelt::batch::Batcher::Open(*model, options, Watch, &watched);
  REQUIRE(batch.ok(), "%s", batch.status().message());
  count = largest = 0;
  const int64_t prompt[] = {1, 3, 2, 1, 2, 3, 1};
  smelt_generation how = SMELT_GENERATION;
  how.temperature = 0;
  for (int64_t i = 0; i < kRequests; ++i) {
    how.max_new_tokens = 3 + i;
    int64_t request = 0;
    const size_t length = 2 + static_cast<size_t>(i % 6);
    const smelt::Status status = (*batch)->Submit(prompt, length, &how, nullptr, &request);
    REQUIRE(status.ok(), "%s", status.message());
  }
  watched.is_ready = true;
  const smelt::Status closed = (*batch)->Close(true);
  counting = false;
  REQUIRE(closed.ok() && watched.ended == kRequests, "%lld requests ended",
          static_cast<long long>(watched.ended.load()));
  REQUIRE(count.load() == 0, "%lld allocations by a batch, the largest of %lld bytes",
          static_cast<long long>(count.load()), static_cast<long long>(largest.load()));
  std::printf("%lld tokens of %lld requests in a batch, nothing allocated\n",
              static_cast<long long>(watched.tokens), static_cast<long long>(kRequests));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (!InstallCounter()) {
    std::printf("skipped: this system's allocator cannot be counted\n");
    return 0;
  }
  counting = true;
  void* volatile probe = std::malloc(100);
  counting = false;
  std::free(probe);
  REQUIRE(count.load() > 0, "the counter does not count");
  const int64_t tokens = std::atoll(argv[2]), context = argc > 3 ? std::atoll(argv[3]) : 0;
  for (int threads : {1, 3}) {
    if (const int failed = Check(argv[1], tokens, context, threads)) return failed;
    if (const int failed = CheckBatch(argv[1], context, threads)) return failed;
  }
  return 0;
}
