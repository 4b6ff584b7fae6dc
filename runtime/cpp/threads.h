// Persistent worker threads that share one counted loop at a time.
//
// Goals: no allocation after Start; the caller works too and never waits for a worker that took no
// task, so a descheduled core delays at most the task it holds; idle workers spin for microseconds,
// then sleep.
//
// Non-goals: nesting (a task must not call Run), several callers at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smelt {

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 64;
  using Task = void (*)(void* context, int64_t task, int thread);

  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Starts threads - 1 workers; returns the number that could be had (at least 1, the caller
  // itself).
  int Start(int threads);
  int threads() const { return threads_; }

  // Calls task(context, i, thread) for every i of [0, count), in any order, on any thread of [0,
  // threads()). Returns when all are done; everything they wrote is visible.
  void Run(int64_t count, Task task, void* context);

 private:
  struct Worker;
  static void* Enter(void* worker);
  void WorkLoop(int thread);
  bool RunSome(int thread);
  void Stop();

  alignas(64) std::atomic<uint64_t> state_{0};  // generation << 32 | next task
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<Task> task_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> count_{0};
  std::atomic<int32_t> sleeping_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  // Nanoseconds of the clock, the caller's to write: until when threads spin for a shorter time,
  // and when the caller last waited for long.
  std::atomic<int64_t> polite_until_{0};
  int64_t stalled_ = 0;
  int threads_ = 1;
  alignas(64) unsigned char storage_[4096];  // platform handles of the workers, mutex and condition
                                             // variables
};

// Calls body(task, thread) for each task of [0, count); inline when pool is null or there is one
// task.
template <typename Body>
void ParallelFor(ThreadPool* pool, int64_t count, const Body& body) {
  if (pool == nullptr || pool->threads() == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  pool->Run(
      count,
      [](void* context, int64_t i, int thread) { (*static_cast<const Body*>(context))(i, thread); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// The same where neighbouring tasks read neighbouring memory: each thread takes the next task of a
// slice of its own, so that it reads on where it was, and then what is left of the others' slices.
template <typename Body>
void ParallelSlices(ThreadPool* pool, int64_t count, const Body& body) {
  const int threads = pool == nullptr ? 1 : pool->threads();
  if (threads == 1 || count <= 1) return ParallelFor(pool, count, body);
  struct alignas(64) Slice {
    std::atomic<int64_t> next;
    int64_t end;
  };
  Slice slices[ThreadPool::kMaxThreads];
  for (int i = 0; i < threads; ++i) {
    slices[i].next.store(count * i / threads, std::memory_order_relaxed);
    slices[i].end = count * (i + 1) / threads;
  }
  ParallelFor(pool, threads, [&](int64_t own, int thread) {
    for (int i = 0; i < threads; ++i) {
      Slice& slice = slices[(own + i) % threads];
      for (int64_t task; (task = slice.next.fetch_add(1, std::memory_order_relaxed)) < slice.end;)
        body(task, thread);
    }
  });
}

}  // namespace smelt
