// A thin C++ wrapper over smelt.h: ownership and no more. Errors stay codes; smelt::Message()
// explains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "smelt/smelt.h"

namespace smelt {

// What went wrong in this thread's last failed call.
inline const char* Message() { return smelt_error(); }

// A model file, mapped; any number of sessions may share it.
class ModelFile {
 public:
  smelt_code Open(const char* path) {
    smelt_model* model = nullptr;
    const smelt_code code = smelt_model_open(path, &model);
    if (code == SMELT_OK) model_.reset(model);
    return code;
  }
  const smelt_model* get() const { return model_.get(); }
  int64_t Setting(const char* key, int64_t missing) const {
    return smelt_model_setting(get(), key, missing);
  }

 private:
  struct Close {
    void operator()(smelt_model* model) const { smelt_model_close(model); }
  };
  std::unique_ptr<smelt_model, Close> model_;
};

// One running state of a model; used by one thread at a time.
class Runner {
 public:
  smelt_code Open(const ModelFile& file, const smelt_options& options) {
    smelt_session* session = nullptr;
    const smelt_code code = smelt_session_open(file.get(), &options, &session);
    if (code == SMELT_OK) session_.reset(session);
    return code;
  }
  smelt_session* get() const { return session_.get(); }

  smelt_code Run(uint32_t function, const smelt_tensor* inputs, size_t count) {
    return smelt_run(get(), function, inputs, count);
  }
  smelt_code Output(uint32_t function, uint32_t output, smelt_tensor* out) const {
    return smelt_output(get(), function, output, out);
  }
  void Reset() { smelt_reset(get()); }
  int64_t past() const { return smelt_past(get()); }

  // Greedy; on_token(int64_t) returns whether to go on.
  template <typename OnToken>
  smelt_code Generate(const int64_t* tokens, size_t count, size_t most, OnToken on_token) {
    return smelt_generate(
        get(), tokens, count, most,
        [](void* context, int64_t token) {
          return (*static_cast<OnToken*>(context))(token) ? 0 : 1;
        },
        &on_token);
  }

 private:
  struct Close {
    void operator()(smelt_session* session) const { smelt_session_close(session); }
  };
  std::unique_ptr<smelt_session, Close> session_;
};

}  // namespace smelt
