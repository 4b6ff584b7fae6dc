// Continuous batching: requests come and go, and share the calls of one session.
//
// A worker thread owns the session. Each of its steps feeds at most one chunk of tokens, of one
// prompt or of several short ones, then one token of every row that generates, so that a row never
// waits for more than a chunk of others.
// Requests are admitted in the order of Submit; a new one takes over the longest beginning of its
// prompt that any row holds.
//
// Nothing allocates in the worker, errors excepted. Non-goals: preemption; priorities.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "batch/rows.h"
#include "smelt/smelt.h"

namespace smelt::batch {

struct Options {
  int threads = 1;
  int64_t context = 0;  // tokens of each row; 0: the file's
  int64_t rows = 16;
  int64_t waiting = 256;  // requests that have no row yet
  int64_t chunk = 64;     // tokens of prompts that go in at once
  int64_t max_memory = 0;
};

class Batcher {
 public:
  // on_events gets all that a step brought, in the worker thread and without a lock held.
  static Result<std::unique_ptr<Batcher>> Open(Model::Pointer model, const Options& options,
                                               smelt_on_events on_events, void* context);
  ~Batcher();

  // From any thread. kBusy: as many requests wait as may; kInvalidArgument, kUnsupported: what is
  // wrong with the prompt or an option; kState: closed.
  Status Submit(const int64_t* prompt, size_t count, const smelt_generation* how,
                const text::Tokenizer* tokenizer, int64_t* request);
  // Ends a request by an event SMELT_STOPPED; one that has ended already, or never was, by none.
  void Cancel(int64_t request);
  // Takes no more requests; `drain`: those there are go on to their ends, else they are cancelled.
  // Returns when the last event has been delivered; kState from within on_events.
  Status Close(bool drain);
  smelt_batch_stats Stats() const;
  int64_t context() const { return rows_->session().context(); }
  const MemoryUse& memory() const { return rows_->session().memory(); }

 private:
  Batcher() = default;
  static void* Enter(void* self);
  void Work();
  // With the lock held: requests that end without running, and those that get a row.
  void EndCancelled();
  void TakeWaiting();
  void Count();
  void Deliver();

  Model::Pointer model_;
  std::unique_ptr<Rows> rows_;
  std::vector<smelt_batch_event> events_;
  std::vector<std::unique_ptr<Request>> ended_;  // until their events are delivered
  smelt_on_events on_events_ = nullptr;
  void* context_ = nullptr;
  pthread_t thread_ = {};
  size_t most_waiting_ = 0;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::vector<std::unique_ptr<Request>> waiting_;  // oldest first
  std::vector<int64_t> cancelled_;
  std::vector<std::unique_ptr<Request>> admitted_;
  int64_t next_id_ = 1;
  bool has_thread_ = false, closing_ = false, stopping_ = false, done_ = false;
  smelt_batch_stats stats_ = {};
};

}  // namespace smelt::batch
