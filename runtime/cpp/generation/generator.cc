#include "generation/generator.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace smelt::generation {

Result<Generator> Generator::Make(Session* session) {
  const Model& model = session->model();
  Generator g;
  g.session_ = session;
  Result<Ports> ports = Ports::Find(model);
  if (!ports.ok()) return std::move(ports.status());
  g.ports_ = *ports;
  const int64_t chunk = std::max<int64_t>(session->chunk(), 1);
  const int64_t context = std::max(session->context(), chunk);
  Result<Sampler> sampler = Sampler::Open(model, context);
  if (!sampler.ok()) return std::move(sampler.status());
  g.sampler_.emplace(std::move(*sampler));
  (void)g.sampler_->Set(model, nullptr, nullptr).ok();  // takes memory; a call says what is refused
  g.mask_values_.assign(static_cast<size_t>(context), 1);
  g.position_values_.resize(static_cast<size_t>(chunk));
  g.held_.reserve(g.mask_values_.size());
  g.work_ = std::make_unique<Workspace>(VocabularyOf(model));
  return Result<Generator>(std::move(g));
}

// Runs up to a chunk of tokens; the logits behind the last one.
Status Generator::Feed(const int64_t* tokens, int64_t count, float** logits) {
  const int64_t past = session_->past();
  if (past + count > static_cast<int64_t>(mask_values_.size())) {
    return Error(Code::kInvalidArgument, "%lld more tokens do not fit: %lld of %zu are used",
                 static_cast<long long>(count), static_cast<long long>(past), mask_values_.size());
  }
  for (int64_t i = 0; i < count; ++i) position_values_[static_cast<size_t>(i)] = past + i;
  InputArray inputs[3];
  auto set = [&inputs](uint32_t port, const int64_t* data, int64_t size) {
    if (port != kNone) inputs[port] = {data, Elem::kI64, 2, {1, size}};
  };
  set(ports_.ids, tokens, count);
  set(ports_.mask, mask_values_.data(), past + count);
  set(ports_.positions, position_values_.data(), count);
  SMELT_TRY(session_->Run(ports_.function, inputs, ports_.inputs));
  held_.insert(held_.end(), tokens, tokens + count);
  int64_t stride = 0;
  return ports_.LastLogits(*session_, 1, logits, &stride);
}

// Feeds a prompt, but for the beginning that is held already where that is wanted.
Status Generator::Prefill(const int64_t* tokens, size_t count, bool reuse,
                          const std::atomic<bool>& cancelled, float** logits) {
  size_t same = 0;
  const bool is_known = session_->past() == static_cast<int64_t>(held_.size());
  while (reuse && is_known && same < std::min(held_.size(), count - 1) &&
         held_[same] == tokens[same]) {
    ++same;
  }
  // A ring or recurrent state may not go back: then everything is fed again.
  if (same < held_.size() && !(same && session_->Rewind(static_cast<int64_t>(same)).ok())) same = 0;
  if (same == 0) session_->Reset();
  held_.resize(same);
  metrics_.cached_tokens = static_cast<int64_t>(same);
  session_->Ask(1);
  const size_t chunk = position_values_.size();
  for (size_t at = same; at < count; at += chunk) {
    if (cancelled.load(std::memory_order_relaxed)) return Error(Code::kCancelled, "cancelled");
    SMELT_TRY(Feed(tokens + at, static_cast<int64_t>(std::min(chunk, count - at)), logits));
  }
  return Status();
}

Status Generator::Run(const int64_t* tokens, size_t count, const smelt_generation* how,
                      const text::Tokenizer* tokenizer, smelt_on_token on_token, void* context,
                      const std::atomic<bool>& cancelled) {
  const auto start = Clock::now();
  const auto seconds = [](Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  };
  metrics_ = {};
  metrics_.struct_bytes = sizeof metrics_;
  SMELT_TRY(sampler_->Set(session_->model(), how, tokenizer));
  SMELT_TRY(sampler_->Begin(tokens, count));
  metrics_.seed = sampler_->settings().seed;
  metrics_.prompt_tokens = static_cast<int64_t>(count);
  float* logits = nullptr;
  SMELT_TRY(Prefill(tokens, count, sampler_->settings().reuse != 0, cancelled, &logits));
  metrics_.prefill_seconds = seconds(start, Clock::now());
  for (;;) {
    const auto before = Clock::now();
    Result<int64_t> id = sampler_->Choose(logits, work_.get());
    const auto now = Clock::now();
    if (!id.ok()) return std::move(id.status());
    metrics_.sampling_seconds += seconds(before, now);
    metrics_.total_seconds = seconds(start, now);
    if (metrics_.new_tokens++ == 0) metrics_.first_token_seconds = metrics_.total_seconds;
    if (on_token && on_token(context, &sampler_->token()) != 0) sampler_->Stop();
    metrics_.finish = sampler_->finish();
    if (sampler_->done()) return Status();
    if (cancelled.load(std::memory_order_relaxed)) {
      metrics_.finish = SMELT_STOPPED;
      return Error(Code::kCancelled, "cancelled after %lld new tokens",
                   static_cast<long long>(metrics_.new_tokens));
    }
    const auto fed = Clock::now();
    SMELT_TRY(Feed(&*id, 1, &logits));
    metrics_.decode_seconds += seconds(fed, Clock::now());
  }
}

}  // namespace smelt::generation
