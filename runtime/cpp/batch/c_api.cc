// The C API over Batcher.
#include <new>

#include "batch/batcher.h"
#include "core/handles.h"

struct smelt_batch {
  std::unique_ptr<smelt::batch::Batcher> batcher;
};

extern "C" {

smelt_code smelt_batch_open(const smelt_model* model, const smelt_batch_options* options,
                            smelt_on_events on_events, void* context, smelt_batch** out) {
  smelt::batch::Options converted;
  if (options) {
    const smelt::Status same =
        smelt::CheckSize("smelt_batch_options", options->struct_bytes, sizeof *options);
    if (!same.ok()) return smelt::Fail(same);
    converted = {options->threads, options->context, options->rows,
                 options->waiting, options->chunk,   options->max_memory};
  }
  auto opened = smelt::batch::Batcher::Open(model->model, converted, on_events, context);
  if (!opened.ok()) return smelt::Fail(opened.status());
  *out = new (std::nothrow) smelt_batch{std::move(*opened)};
  return *out ? SMELT_OK : smelt::Fail(smelt::Error(smelt::Code::kOutOfMemory, "out of memory"));
}

smelt_code smelt_batch_submit(smelt_batch* batch, const int64_t* tokens, size_t count,
                              const smelt_generation* how, int64_t* request) {
  const smelt::text::Tokenizer* tokenizer =
      how && how->tokenizer ? &how->tokenizer->tokenizer : nullptr;
  return smelt::Done(batch->batcher->Submit(tokens, count, how, tokenizer, request));
}

void smelt_batch_cancel(smelt_batch* batch, int64_t request) { batch->batcher->Cancel(request); }

void smelt_batch_read_stats(const smelt_batch* batch, smelt_batch_stats* out) {
  *out = batch->batcher->Stats();
}

void smelt_batch_memory(const smelt_batch* batch, smelt_memory* out) {
  const smelt::MemoryUse& use = batch->batcher->memory();
  *out = {use.weights, use.state, use.activations, use.scratch};
}

smelt_code smelt_batch_close(smelt_batch* batch, int drain) {
  if (!batch) return SMELT_OK;
  const smelt::Status status = batch->batcher->Close(drain != 0);
  if (!status.ok()) return smelt::Fail(status);
  delete batch;
  return SMELT_OK;
}

}  // extern "C"
