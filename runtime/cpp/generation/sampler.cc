#include "generation/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "generation/processors.h"
#include "generation/random.h"
#include "generation/sampling.h"

namespace smelt::generation {

int64_t VocabularyOf(const Model& model) {
  const uint32_t index = model.FindFunction("main");
  if (index == kNone) return 0;
  const FunctionRecord& f = model.functions[index];
  for (uint32_t i = 0; i < f.outputs; ++i) {
    const PortRecord& port = model.ports[f.first_output + i];
    const TensorRecord& t = model.tensors[port.tensor];
    if (t.rank == 0 || std::strcmp(model.Text(port.name), "logits") != 0) continue;
    const DimRecord& width = model.dims[t.dims[t.rank - 1]];
    constexpr int64_t kMost = int64_t{1} << 31;
    return width.op == static_cast<uint32_t>(DimOp::kConst) && width.a < kMost ? width.a : 0;
  }
  return 0;
}

Result<Sampler> Sampler::Open(const Model& model, int64_t context) {
  constexpr int64_t kLongest = 1 << 24;  // the history is as long as the context
  Sampler made;
  made.vocabulary_ = VocabularyOf(model);
  made.context_ = context;
  if (made.vocabulary_ < 1) return Error(Code::kUnsupported, "the model has no vocabulary");
  if (context < 1 || context > kLongest) {
    return Error(Code::kUnsupported, "a context of %lld tokens is too long for generation",
                 static_cast<long long>(context));
  }
  made.history_.Open(context);
  return Result<Sampler>(std::move(made));
}

Result<Sampler> Sampler::Make(const Model& model, const smelt_generation* how,
                              const text::Tokenizer* tokenizer, int64_t context) {
  Result<Sampler> made = Open(model, context);
  if (made.ok()) SMELT_TRY(made->Set(model, how, tokenizer));
  return made;
}

Status Sampler::Set(const Model& model, const smelt_generation* how,
                    const text::Tokenizer* tokenizer) {
  SMELT_TRY(settings_.Resolve(model, how, vocabulary_));
  if (!settings_.stop.empty() && !tokenizer)
    return Error(Code::kInvalidArgument, "stop strings need a tokenizer");
  history_.LookUp(settings_, vocabulary_);
  if (settings_.has_watermark()) mark_.Open(settings_, vocabulary_);
  if (settings_.logprobs >= 0) {
    raw_.resize(static_cast<size_t>(vocabulary_));
    top_.resize(static_cast<size_t>(std::min(settings_.logprobs, vocabulary_)));
  }
  stops_.Open(tokenizer, std::move(settings_.stop));
  return Status();
}

Status Sampler::Begin(const int64_t* prompt, size_t count) {
  if (count == 0) return Error(Code::kInvalidArgument, "the prompt has no tokens");
  if (count >= static_cast<size_t>(context_)) {
    return Error(Code::kInvalidArgument, "the prompt has %zu tokens, the context is %lld", count,
                 static_cast<long long>(context_));
  }
  for (size_t i = 0; i < count; ++i) {
    if (prompt[i] < 0 || prompt[i] >= vocabulary_) {
      return Error(Code::kInvalidArgument, "the prompt has token %lld, the vocabulary has %lld",
                   static_cast<long long>(prompt[i]), static_cast<long long>(vocabulary_));
    }
  }
  start_ = Clock::now();
  history_.Begin(prompt, count);
  stops_.Begin(prompt, count);
  token_ = {};
  const int64_t held = static_cast<int64_t>(count), room = context_ - held;
  most_ = settings_.max_new_tokens;
  if (settings_.max_length >= 0)
    most_ = std::min(most_, std::max<int64_t>(1, settings_.max_length - held));
  limit_ = most_ > room ? SMELT_CONTEXT : SMELT_LENGTH;
  most_ = std::min(most_, room);
  return Status();
}

// The largest logit; NaN and infinity are refused before they spread.
Result<float> Sampler::MostOf(const float* logits) const {
  bool is_number;
  const float most = Most(logits, vocabulary_, &is_number);
  if (!is_number || most == INFINITY) {
    return Error(Code::kOutOfRange, "logits hold %s at new token %zu of row %lld",
                 is_number ? "inf" : "nan", made(), static_cast<long long>(settings_.row));
  }
  if (most == -INFINITY) {
    return Error(Code::kOutOfRange, "no token is allowed at new token %zu of row %lld", made(),
                 static_cast<long long>(settings_.row));
  }
  return most;
}

Result<int64_t> Sampler::Choose(float* logits, Workspace* work) {
  const bool is_late =
      std::chrono::duration<double>(Clock::now() - start_).count() > settings_.max_time;
  if (settings_.logprobs >= 0) {
    std::copy(logits, logits + vocabulary_, raw_.begin());
    LogSum(logits, vocabulary_, work, &most_logit_, &log_sum_);
  }
  Process(settings_, history_, static_cast<size_t>(most_), logits, vocabulary_, work);
  Result<float> most = MostOf(logits);
  if (!most.ok()) return std::move(most.status());
  const int64_t id = Pick(logits, *most, work);
  Take(id, is_late);
  if (settings_.logprobs >= 0) Score(raw_.data(), work);
  return id;
}

int64_t Sampler::Pick(float* logits, float most, Workspace* work) {
  const Watermark* mark = settings_.has_watermark() ? &mark_ : nullptr;
  if (!settings_.greedy()) {
    const double u = Uniform(settings_.seed, static_cast<uint32_t>(settings_.row),
                             static_cast<uint32_t>(made()));
    return Draw(logits, vocabulary_, settings_, u, mark, tokens(), size(), work);
  }
  if (mark) {
    const uint32_t tried = Largest(logits, vocabulary_, Watermark::kTried, work);
    mark->ForGreen(tokens(), size(), work->order.get(), tried,
                   [&](uint32_t green) { logits[green] += mark->bias(); });
    most = Most(logits, vocabulary_, nullptr);
  }
  return std::find(logits, logits + vocabulary_, most) - logits;
}

void Sampler::Score(const float* logits, Workspace* work) {
  token_.logprob = (logits[token_.id] - most_logit_) - log_sum_;
  token_.top_count = Largest(logits, vocabulary_, settings_.logprobs, work);
  token_.top = top_.data();
  for (size_t i = 0; i < token_.top_count; ++i) {
    const uint32_t id = work->order[i];
    top_[i] = {id, (logits[id] - most_logit_) - log_sum_};
  }
}

// Appends a token, decides whether the row ends, and has the text that is safe to show.
void Sampler::Take(int64_t id, bool is_late) {
  history_.Push(id);
  token_ = {};
  token_.id = id;
  token_.logprob = std::numeric_limits<double>::quiet_NaN();
  std::string_view text;
  if (std::count(settings_.eos.begin(), settings_.eos.end(), id)) {
    token_.finish = SMELT_EOS;
    text = stops_.Skip();
  } else {
    text = stops_.Push(id);
    if (stops_.found())
      token_.finish = SMELT_STOP;
    else if (static_cast<int64_t>(made()) >= most_)
      token_.finish = limit_;
    else if (is_late)
      token_.finish = SMELT_TIME;
  }
  if (done()) {
    text = stops_.Finish();
    if (stops_.found()) token_.finish = SMELT_STOP;
  }
  token_.text = text.data();
  token_.text_bytes = text.size();
}

}  // namespace smelt::generation
