// Generation of one row over a session, with everything allocated beforehand.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "core/session.h"
#include "generation/ports.h"
#include "generation/sampler.h"

namespace smelt::generation {

class Generator {
 public:
  // Finds the ports of "main"; kUnsupported when the model is not a causal language model.
  static Result<Generator> Make(Session* session);
  // See smelt_generate. Ends with kCancelled between tokens, and between pieces of the prompt, once
  // `cancelled` is true.
  Status Run(const int64_t* tokens, size_t count, const smelt_generation* how,
             const text::Tokenizer* tokenizer, smelt_on_token on_token, void* context,
             const std::atomic<bool>& cancelled);
  // The session's state was changed; it is still known to stand for the first tokens.
  void Forget(size_t kept) { held_.resize(std::min(held_.size(), kept)); }
  // The tokens that the session's state stands for; none where that is not known.
  const std::vector<int64_t>& held() const { return held_; }
  // The state was replaced by one that stands for these.
  void Hold(const std::vector<int64_t>& tokens) { held_ = tokens; }
  const smelt_metrics& metrics() const { return metrics_; }

 private:
  using Clock = std::chrono::steady_clock;
  Generator() = default;
  Status Feed(const int64_t* tokens, int64_t count, float** logits);
  Status Prefill(const int64_t* tokens, size_t count, bool reuse,
                 const std::atomic<bool>& cancelled, float** logits);

  Session* session_ = nullptr;
  Ports ports_;
  std::vector<int64_t> mask_values_, position_values_, held_;
  std::optional<Sampler> sampler_;  // made once, with other settings each time
  std::unique_ptr<Workspace> work_;
  smelt_metrics metrics_ = {};
};

}  // namespace smelt::generation
