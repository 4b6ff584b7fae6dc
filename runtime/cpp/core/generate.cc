#include "core/generate.h"

#include <algorithm>
#include <cstring>

namespace smelt {

Result<Generator> Generator::Make(Session* session) {
  const Model& model = session->model();
  Generator g;
  g.session_ = session;
  g.function_ = model.FindFunction("main");
  if (g.function_ == kNone) return Error(Code::kUnsupported, "the model has no function `main`");
  const FunctionRecord& f = model.functions[g.function_];
  g.inputs_ = f.inputs;
  bool known = f.inputs <= 3;
  for (uint32_t i = 0; i < f.inputs; ++i) {
    const PortRecord& port = model.ports[f.first_input + i];
    const TensorRecord& t = model.tensors[port.tensor];
    const char* name = model.Text(port.name);
    known = known && t.elem == static_cast<uint8_t>(Elem::kI64) && t.rank == 2;
    if (std::strcmp(name, "input_ids") == 0)
      g.ids_ = i;
    else if (std::strcmp(name, "attention_mask") == 0)
      g.mask_ = i;
    else if (std::strcmp(name, "position_ids") == 0)
      g.positions_ = i;
    else
      known = false;
  }
  for (uint32_t i = 0; i < f.outputs; ++i) {
    const PortRecord& port = model.ports[f.first_output + i];
    const TensorRecord& t = model.tensors[port.tensor];
    if (std::strcmp(model.Text(port.name), "logits") == 0 && t.rank == 3 &&
        t.elem == static_cast<uint8_t>(Elem::kF32)) {
      g.logits_ = i;
    }
  }
  if (!known || g.ids_ == kNone || g.logits_ == kNone) {
    return Error(Code::kUnsupported, "the model is not a causal language model");
  }
  const int64_t chunk = std::max<int64_t>(session->chunk(), 1);
  constexpr int64_t kLongest = 1 << 24;  // the buffers below are as long as the context
  if (chunk > kLongest || session->context() > kLongest) {
    return Error(Code::kUnsupported, "the context is too long for greedy generation");
  }
  g.mask_values_.assign(static_cast<size_t>(std::max(session->context(), chunk)), 1);
  g.position_values_.resize(static_cast<size_t>(chunk));
  for (const SettingRecord& setting : model.settings) {
    if (std::strcmp(model.Text(setting.key), "eos_token_id") == 0) g.eos_.push_back(setting.value);
  }
  return g;
}

// Runs up to a chunk of tokens; the likeliest token after the last one.
Status Generator::Feed(const int64_t* tokens, int64_t count, int64_t* next) {
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
  set(ids_, tokens, count);
  set(mask_, mask_values_.data(), past + count);
  set(positions_, position_values_.data(), count);
  SMELT_TRY(session_->Run(function_, inputs, inputs_));
  const View& logits = session_->Output(function_, logits_);
  const int64_t width = logits.last();
  if (!logits.contiguous || logits.count < width || width < 1) {
    return Error(Code::kUnsupported, "the logits are not rows of numbers");
  }
  const float* row = logits.f32() + logits.count - width;
  *next = std::max_element(row, row + width) - row;
  return Status();
}

Status Generator::Run(const int64_t* tokens, size_t count, size_t most,
                      int (*on_token)(void*, int64_t), void* context) {
  if (count == 0) return Error(Code::kInvalidArgument, "there are no tokens to start from");
  const size_t chunk = position_values_.size();
  int64_t next = 0;
  for (size_t at = 0; at < count; at += chunk) {
    SMELT_TRY(Feed(tokens + at, static_cast<int64_t>(std::min(chunk, count - at)), &next));
  }
  for (size_t made = 0; made < most; ++made) {
    if (std::find(eos_.begin(), eos_.end(), next) != eos_.end()) return Status();
    if (on_token && on_token(context, next) != 0) return Status();
    if (made + 1 == most) return Status();
    const int64_t token = next;
    SMELT_TRY(Feed(&token, 1, &next));
  }
  return Status();
}

}  // namespace smelt
