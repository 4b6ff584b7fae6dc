// The C API over Template.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "core/handles.h"
#include "template/template.h"

using smelt::Fail;

struct smelt_template {
  smelt::Model::Pointer model;  // the code lies in its file
  smelt::chat::Template code;
};

namespace {

constexpr size_t kMostScratch = size_t{1} << 28;

smelt_code NoMemory() { return Fail(smelt::Error(smelt::Code::kOutOfMemory, "out of memory")); }

}  // namespace

extern "C" {

smelt_code smelt_template_open(const smelt_model* model, const char* name, smelt_template** out) {
  const smelt::Model::Pointer& held = model->model;
  char path[104];
  if (!name) name = "default";
  const int bytes = std::snprintf(path, sizeof path, "chat_template.%s.code", name);
  const smelt::FileRecord* file =
      bytes < static_cast<int>(sizeof path) ? held->FindFile(path) : nullptr;
  if (!file)
    return Fail(smelt::Error(smelt::Code::kUnsupported,
                             "the file holds no compiled chat template `%.64s`", name));
  auto opened = smelt::chat::Template::Open(held->FileData(*file), file->bytes);
  if (!opened.ok()) return Fail(opened.status());
  *out = new (std::nothrow) smelt_template{held, *opened};
  return *out ? SMELT_OK : NoMemory();
}

void smelt_template_close(smelt_template* chat) { delete chat; }

size_t smelt_template_scratch(size_t json_bytes) {
  return smelt::chat::Template::ScratchBytes(json_bytes);
}

smelt_code smelt_apply_template(const smelt_template* chat, const char* json, size_t json_bytes,
                                void* scratch, size_t scratch_bytes, char* out, size_t capacity,
                                size_t* bytes) {
  smelt::chat::TextSink sink{out, capacity, 0};
  const bool owned = scratch == nullptr;
  if (owned) scratch_bytes = smelt_template_scratch(json_bytes);
  for (;; scratch_bytes *= 4) {
    void* memory = owned ? std::malloc(scratch_bytes) : scratch;
    if (!memory) return NoMemory();
    const smelt::Status status =
        chat->code.Render(json, json_bytes, {}, memory, scratch_bytes, &sink);
    if (owned) std::free(memory);
    *bytes = sink.count;
    if (status.ok()) return SMELT_OK;
    const bool may_grow = owned && scratch_bytes < kMostScratch;
    if (!may_grow || status.code() != smelt::Code::kOutOfMemory) return Fail(status);
  }
}

}  // extern "C"
