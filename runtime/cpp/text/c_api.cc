// The C API over Tokenizer.
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/handles.h"
#include "text/tokenizer.h"

using smelt::Fail;

namespace {

constexpr char kTables[] = "tokenizer.tables";
static_assert(sizeof(smelt_text_stream) >= sizeof(smelt::text::StreamState));
static_assert(sizeof(smelt_span) == sizeof(smelt::text::Span));

smelt_code NoMemory() { return Fail(smelt::Error(smelt::Code::kOutOfMemory, "out of memory")); }

// Streams are opaque bytes to the caller.
template <typename Use>
size_t WithState(smelt_text_stream* stream, const Use& use) {
  smelt::text::StreamState state;
  std::memcpy(&state, stream->state, sizeof state);
  const size_t bytes = use(&state);
  std::memcpy(stream->state, &state, sizeof state);
  return bytes;
}

}  // namespace

extern "C" {

smelt_code smelt_tokenizer_open(const smelt_model* model, smelt_tokenizer** out) {
  const smelt::Model::Pointer& held = model->model;
  const smelt::FileRecord* file = held->FindFile(kTables);
  if (!file)
    return Fail(smelt::Error(smelt::Code::kUnsupported, "the file holds no compiled tokenizer"));
  auto opened = smelt::text::Tokenizer::Open(held->FileData(*file), file->bytes);
  if (!opened.ok()) return Fail(opened.status());
  *out = new (std::nothrow) smelt_tokenizer{held, *opened};
  return *out ? SMELT_OK : NoMemory();
}

void smelt_tokenizer_close(smelt_tokenizer* tokenizer) { delete tokenizer; }

size_t smelt_tokenize_scratch(size_t text_bytes) {
  return smelt::text::Tokenizer::ScratchBytes(text_bytes);
}

smelt_code smelt_tokenize(const smelt_tokenizer* tokenizer, const char* text, size_t text_bytes,
                          int frame, void* scratch, size_t scratch_bytes, int64_t* ids,
                          smelt_span* offsets, size_t capacity, size_t* count) {
  smelt::text::EncodeOptions options;
  options.special = frame != 0;
  smelt::text::TokenSink sink;
  sink.ids = ids;
  sink.offsets = reinterpret_cast<smelt::text::Span*>(offsets);
  sink.capacity = capacity;
  const bool owned = scratch == nullptr;
  if (owned) scratch_bytes = smelt_tokenize_scratch(text_bytes);
  for (;; scratch_bytes *= 4) {
    void* memory = owned ? std::malloc(scratch_bytes) : scratch;
    if (!memory) return NoMemory();
    const smelt::Status status =
        tokenizer->tokenizer.Encode(text, text_bytes, options, memory, scratch_bytes, &sink);
    if (owned) std::free(memory);
    *count = sink.count;
    if (status.ok()) return SMELT_OK;
    if (!owned || status.code() != smelt::Code::kOutOfMemory) return Fail(status);
  }
}

smelt_code smelt_detokenize(const smelt_tokenizer* tokenizer, const int64_t* ids, size_t count,
                            int with_special, char* out, size_t capacity, size_t* bytes) {
  *bytes = tokenizer->tokenizer.Decode(ids, count, !with_special, out, capacity);
  return SMELT_OK;
}

size_t smelt_stream_bytes(const smelt_tokenizer* tokenizer) {
  return tokenizer->tokenizer.StreamBytes();
}

size_t smelt_stream_push(const smelt_tokenizer* tokenizer, smelt_text_stream* stream, int64_t id,
                         char* out) {
  return WithState(stream, [&](smelt::text::StreamState* state) {
    return tokenizer->tokenizer.Push(state, id, /*skip_special=*/true, out);
  });
}

size_t smelt_stream_finish(const smelt_tokenizer* tokenizer, smelt_text_stream* stream, char* out) {
  return WithState(stream, [&](smelt::text::StreamState* state) {
    return tokenizer->tokenizer.Finish(state, out);
  });
}

}  // extern "C"
