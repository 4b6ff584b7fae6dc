#include "threads.h"

#if defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__)
#define SMELT_THREADS 0
#else
#define SMELT_THREADS 1
#include <pthread.h>
#include <time.h>
#endif

#include <new>

namespace smelt {

#if SMELT_THREADS

struct ThreadPool::Worker {
  pthread_t handle;
  ThreadPool* pool;
  int thread;
};

namespace {

constexpr uint32_t kClosed = 0xFFFFFFFFu;  // no task index reaches it
// Beside a neighbour on one of the cores, a thread that spins uses up its share of that core, and
// is then left out for whole turns of the scheduler. Two waits longer than the work they follow,
// soon after each other, tell of one: for a while threads then go to sleep almost at once.
constexpr int64_t kSpin = 20000, kShortSpin = 2000;  // nanoseconds
constexpr int64_t kStall = 1000000, kAgain = 100000000, kPolite = 4000000000;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

// Spins until ready() or the time is over; says whether it was ready.
template <typename Ready>
bool SpinUntil(const Ready& ready, const std::atomic<int64_t>& polite_until) {
  const int64_t start = Now();
  const bool is_polite = start < polite_until.load(std::memory_order_relaxed);
  const int64_t end = start + (is_polite ? kShortSpin : kSpin);
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (Now() < end);
  return ready();
}

struct Sleep {
  pthread_mutex_t mutex;
  pthread_cond_t work, finished;
};

}  // namespace

static Sleep& SleepOf(unsigned char* storage) { return *reinterpret_cast<Sleep*>(storage); }

int ThreadPool::Start(int threads) {
  static_assert(sizeof(Sleep) + 16 + kMaxThreads * sizeof(Worker) <= sizeof(storage_),
                "workers fit");
  if (threads > kMaxThreads) threads = kMaxThreads;
  if (threads <= 1 || threads_ > 1) return threads_;
  Sleep* sleep = new (storage_) Sleep;
  if (pthread_mutex_init(&sleep->mutex, nullptr) != 0 ||
      pthread_cond_init(&sleep->work, nullptr) != 0 ||
      pthread_cond_init(&sleep->finished, nullptr) != 0) {
    return 1;
  }
  state_.store(kClosed);
  Worker* workers = reinterpret_cast<Worker*>(storage_ + (sizeof(Sleep) + 15) / 16 * 16);
  for (int i = 1; i < threads; ++i) {
    Worker* worker = new (workers + i - 1) Worker{{}, this, i};
    if (pthread_create(&worker->handle, nullptr, Enter, worker) != 0) break;
    ++threads_;
  }
  // A thread may take memory while it starts: that too belongs to Start.
  pthread_mutex_lock(&sleep->mutex);
  while (done_.load() < threads_ - 1) pthread_cond_wait(&sleep->finished, &sleep->mutex);
  pthread_mutex_unlock(&sleep->mutex);
  return threads_;
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  if (threads_ == 1) return;
  Sleep& sleep = SleepOf(storage_);
  pthread_mutex_lock(&sleep.mutex);
  stop_.store(true);
  pthread_cond_broadcast(&sleep.work);
  pthread_mutex_unlock(&sleep.mutex);
  Worker* workers = reinterpret_cast<Worker*>(storage_ + (sizeof(Sleep) + 15) / 16 * 16);
  for (int i = 1; i < threads_; ++i) pthread_join(workers[i - 1].handle, nullptr);
  pthread_cond_destroy(&sleep.finished);
  pthread_cond_destroy(&sleep.work);
  pthread_mutex_destroy(&sleep.mutex);
  threads_ = 1;
}

void* ThreadPool::Enter(void* argument) {
  Worker* worker = static_cast<Worker*>(argument);
  Sleep& sleep = SleepOf(worker->pool->storage_);
  pthread_mutex_lock(&sleep.mutex);
  worker->pool->done_.fetch_add(1);
  pthread_cond_signal(&sleep.finished);
  pthread_mutex_unlock(&sleep.mutex);
  worker->pool->WorkLoop(worker->thread);
  return nullptr;
}

// Claims and runs tasks until none is left. A claim is one compare-and-swap on generation and index
// together: it succeeds only while that generation is unfinished, and then the job's fields read
// before it were that generation's.
bool ThreadPool::RunSome(int thread) {
  bool any = false;
  uint64_t state = state_.load(std::memory_order_acquire);
  for (;;) {
    const int64_t index = static_cast<int64_t>(state & 0xFFFFFFFFu);
    const int64_t count = count_.load(std::memory_order_acquire);
    const Task task = task_.load(std::memory_order_acquire);
    void* context = context_.load(std::memory_order_acquire);
    if (index >= count) return any;
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      continue;
    task(context, index, thread);
    any = true;
    if (done_.fetch_add(1, std::memory_order_seq_cst) + 1 == count &&
        caller_sleeps_.load(std::memory_order_seq_cst)) {
      Sleep& sleep = SleepOf(storage_);
      pthread_mutex_lock(&sleep.mutex);
      pthread_cond_signal(&sleep.finished);
      pthread_mutex_unlock(&sleep.mutex);
    }
    state = state_.load(std::memory_order_acquire);
  }
}

void ThreadPool::WorkLoop(int thread) {
  Sleep& sleep = SleepOf(storage_);
  const auto open = [this] {
    const uint64_t state = state_.load(std::memory_order_seq_cst);
    return static_cast<int64_t>(state & 0xFFFFFFFFu) < count_.load(std::memory_order_acquire) ||
           stop_.load();
  };
  while (!stop_.load(std::memory_order_relaxed)) {
    RunSome(thread);
    if (SpinUntil(open, polite_until_)) continue;
    pthread_mutex_lock(&sleep.mutex);
    sleeping_.fetch_add(1);
    while (!open()) pthread_cond_wait(&sleep.work, &sleep.mutex);
    sleeping_.fetch_sub(1);
    pthread_mutex_unlock(&sleep.mutex);
  }
}

void ThreadPool::Run(int64_t count, Task task, void* context) {
  if (threads_ == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) task(context, i, 0);
    return;
  }
  // Closed first: a worker that still holds the old state must not claim from the new job's fields.
  const uint64_t generation = ((state_.load(std::memory_order_relaxed) >> 32) + 1) << 32;
  state_.store(generation | kClosed, std::memory_order_seq_cst);
  done_.store(0, std::memory_order_relaxed);
  task_.store(task, std::memory_order_release);
  context_.store(context, std::memory_order_release);
  count_.store(count, std::memory_order_release);
  state_.store(generation, std::memory_order_seq_cst);
  Sleep& sleep = SleepOf(storage_);
  if (sleeping_.load(std::memory_order_seq_cst) > 0) {
    pthread_mutex_lock(&sleep.mutex);
    pthread_cond_broadcast(&sleep.work);
    pthread_mutex_unlock(&sleep.mutex);
  }
  const int64_t begun = Now();
  RunSome(0);
  const auto finished = [this, count] { return done_.load(std::memory_order_seq_cst) == count; };
  if (SpinUntil(finished, polite_until_)) return;
  const int64_t waiting = Now();
  pthread_mutex_lock(&sleep.mutex);
  caller_sleeps_.store(true);
  while (!finished()) pthread_cond_wait(&sleep.finished, &sleep.mutex);
  caller_sleeps_.store(false);
  pthread_mutex_unlock(&sleep.mutex);
  const int64_t end = Now();
  if (end - waiting < kStall || end - waiting < waiting - begun) return;
  if (end - stalled_ < kAgain) polite_until_.store(end + kPolite, std::memory_order_relaxed);
  stalled_ = end;
}

#else  // a platform without threads

struct ThreadPool::Worker {};
ThreadPool::~ThreadPool() = default;
int ThreadPool::Start(int) { return 1; }
void ThreadPool::Run(int64_t count, Task task, void* context) {
  for (int64_t i = 0; i < count; ++i) task(context, i, 0);
}

#endif

}  // namespace smelt
