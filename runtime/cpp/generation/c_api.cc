// The C API over Generator.
#include "core/handles.h"

extern "C" {

smelt_code smelt_generate(smelt_session* session, const int64_t* tokens, size_t count,
                          const smelt_generation* how, smelt_on_token on_token, void* context) {
  if (!session->generator) {
    return smelt::Fail(
        smelt::Error(smelt::Code::kUnsupported, "the model is not a causal language model"));
  }
  session->cancelled.store(false, std::memory_order_relaxed);
  const smelt::text::Tokenizer* tokenizer =
      how && how->tokenizer ? &how->tokenizer->tokenizer : nullptr;
  return smelt::Done(session->generator->Run(tokens, count, how, tokenizer, on_token, context,
                                             session->cancelled));
}

void smelt_cancel(smelt_session* session) {
  session->cancelled.store(true, std::memory_order_relaxed);
}

smelt_code smelt_last_metrics(const smelt_session* session, smelt_metrics* out) {
  const smelt::Status same = smelt::CheckSize("smelt_metrics", out->struct_bytes, sizeof *out);
  if (!same.ok()) return smelt::Fail(same);
  if (!session->generator) {
    return smelt::Fail(
        smelt::Error(smelt::Code::kInvalidArgument, "the model is not a causal language model"));
  }
  *out = session->generator->metrics();
  out->struct_bytes = sizeof *out;
  return SMELT_OK;
}

}  // extern "C"
