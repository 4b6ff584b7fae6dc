#include "batch/batcher.h"

#include <algorithm>
#include <utility>

namespace smelt::batch {

Result<std::unique_ptr<Batcher>> Batcher::Open(Model::Pointer model, const Options& options,
                                               smelt_on_events on_events, void* context) {
  constexpr int64_t kMost = 1 << 16;
  const auto fits = [](int64_t value) { return value >= 1 && value <= kMost; };
  if (!fits(options.rows) || !fits(options.waiting) || !fits(options.chunk) || !on_events) {
    return Error(Code::kInvalidArgument,
                 "rows, waiting and chunk are 1 to %lld, not %lld, %lld, %lld",
                 static_cast<long long>(kMost), static_cast<long long>(options.rows),
                 static_cast<long long>(options.waiting), static_cast<long long>(options.chunk));
  }
  smelt::Options session_options;
  session_options.threads = options.threads;
  session_options.context = options.context;
  session_options.max_memory = options.max_memory;
  session_options.limits = {{"batch", options.rows}, {"last", 1}};
  session_options.rows = true;
  Result<std::unique_ptr<Session>> session = Session::Open(model, session_options);
  if (!session.ok()) return std::move(session.status());
  Result<std::unique_ptr<Rows>> rows = Rows::Open(std::move(*session), options.chunk);
  if (!rows.ok()) return std::move(rows.status());
  std::unique_ptr<Batcher> made(new Batcher);
  made->model_ = std::move(model);
  made->rows_ = std::move(*rows);
  made->on_events_ = on_events;
  made->context_ = context;
  made->most_waiting_ = static_cast<size_t>(options.waiting);
  const size_t count = static_cast<size_t>(made->rows_->count());
  made->events_.reserve(made->most_waiting_ + 3 * count);
  made->ended_.reserve(made->most_waiting_ + 3 * count);
  made->waiting_.reserve(made->most_waiting_);
  made->admitted_.reserve(count);
  made->cancelled_.reserve(made->most_waiting_ + count);
  made->stats_.rows = made->rows_->count();
  if (pthread_create(&made->thread_, nullptr, Enter, made.get()) != 0)
    return Error(Code::kOutOfMemory, "no thread is to be had");
  made->has_thread_ = true;
  return made;
}

Batcher::~Batcher() { static_cast<void>(Close(false)); }

Status Batcher::Submit(const int64_t* prompt, size_t count, const smelt_generation* how,
                       const text::Tokenizer* tokenizer, int64_t* request) {
  Result<generation::Sampler> sampler =
      generation::Sampler::Make(*model_, how, tokenizer, rows_->session().context());
  if (!sampler.ok()) return std::move(sampler.status());
  SMELT_TRY(sampler->Begin(prompt, count));  // says whether the prompt fits; a row begins anew
  std::unique_ptr<Request> made(
      new Request{0, std::vector<int64_t>(prompt, prompt + count), std::move(*sampler), Status()});
  std::lock_guard<std::mutex> lock(mutex_);
  if (closing_) return Error(Code::kState, "the batch is closed");
  if (waiting_.size() >= most_waiting_)
    return Error(Code::kBusy, "%zu requests wait already, no more may", waiting_.size());
  *request = made->id = next_id_++;
  waiting_.push_back(std::move(made));
  stats_.waiting = static_cast<int64_t>(waiting_.size());
  wake_.notify_all();
  return Status();
}

void Batcher::Cancel(int64_t request) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (request < 1 || request >= next_id_ || done_) return;
  cancelled_.push_back(request);
  wake_.notify_all();
}

Status Batcher::Close(bool drain) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!has_thread_) return Status();
  if (pthread_equal(thread_, pthread_self()))
    return Error(Code::kState, "a batch cannot be closed by its own events");
  closing_ = true;
  stopping_ |= !drain;
  wake_.notify_all();
  wake_.wait(lock, [this] { return done_; });
  if (!has_thread_) return Status();
  has_thread_ = false;
  lock.unlock();
  pthread_join(thread_, nullptr);
  return Status();
}

smelt_batch_stats Batcher::Stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

void* Batcher::Enter(void* self) {
  static_cast<Batcher*>(self)->Work();
  return nullptr;
}

void Batcher::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] {
      return closing_ || !cancelled_.empty() || !waiting_.empty() || rows_->running() > 0;
    });
    EndCancelled();
    TakeWaiting();
    lock.unlock();
    for (std::unique_ptr<Request>& request : admitted_) rows_->Admit(std::move(request));
    admitted_.clear();
    rows_->Step(&events_, &ended_);
    Count();
    Deliver();
    lock.lock();
    if (closing_ && waiting_.empty() && rows_->running() == 0) break;
  }
  done_ = true;
  wake_.notify_all();
}

void Batcher::Count() {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.running = rows_->running();
  stats_.waiting = static_cast<int64_t>(waiting_.size());
  stats_.finished = rows_->finished;
  stats_.failed = rows_->failed;
  stats_.tokens = rows_->tokens;
  stats_.prompt_tokens = rows_->prompt_tokens;
  stats_.reused_tokens = rows_->reused_tokens;
  stats_.steps = rows_->steps;
  stats_.step_rows = rows_->step_rows;
}

void Batcher::EndCancelled() {
  size_t kept = 0;
  for (size_t i = 0; i < waiting_.size() && (stopping_ || !cancelled_.empty()); ++i) {
    std::unique_ptr<Request>& request = waiting_[i];
    if (stopping_ ||
        std::find(cancelled_.begin(), cancelled_.end(), request->id) != cancelled_.end()) {
      events_.push_back(Rows::Ended(request->id, request->error));
    } else if (i != kept++) {
      waiting_[kept - 1] = std::move(request);
    }
  }
  if (stopping_ || !cancelled_.empty()) waiting_.resize(kept);
  for (int64_t request : cancelled_) rows_->Stop(request, &events_, &ended_);
  if (stopping_) rows_->Stop(0, &events_, &ended_);
  cancelled_.clear();
  stats_.cancelled += static_cast<int64_t>(events_.size());
}

void Batcher::TakeWaiting() {
  const size_t free = static_cast<size_t>(rows_->count() - rows_->running());
  const size_t taken = std::min(free, waiting_.size());
  for (size_t i = 0; i < taken; ++i) admitted_.push_back(std::move(waiting_[i]));
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
}

void Batcher::Deliver() {
  if (!events_.empty()) on_events_(context_, events_.data(), events_.size());
  events_.clear();
  ended_.clear();
}

}  // namespace smelt::batch
