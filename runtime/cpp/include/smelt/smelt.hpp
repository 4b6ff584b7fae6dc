// A thin C++ wrapper over smelt.h: ownership and no more. Errors stay codes; smelt::Message()
// explains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

// The tokenizer of a model file; any number of threads may share it.
class TextTokenizer {
 public:
  smelt_code Open(const ModelFile& file) {
    smelt_tokenizer* tokenizer = nullptr;
    const smelt_code code = smelt_tokenizer_open(file.get(), &tokenizer);
    if (code == SMELT_OK) tokenizer_.reset(tokenizer);
    return code;
  }
  const smelt_tokenizer* get() const { return tokenizer_.get(); }

  // The ids of a text: in place of what was in `ids`.
  smelt_code Encode(std::string_view text, std::vector<int64_t>* ids, bool frame = true) const {
    size_t count = text.size() + 16;
    for (smelt_code code = SMELT_OK;;) {
      ids->resize(count);
      code = smelt_tokenize(get(), text.data(), text.size(), frame, nullptr, 0, ids->data(),
                            nullptr, ids->size(), &count);
      if (code != SMELT_OK) return code;
      const bool done = count <= ids->size();
      ids->resize(count);
      if (done) return code;
    }
  }
  std::string Decode(const std::vector<int64_t>& ids, bool with_special = false) const {
    size_t bytes = 0;
    smelt_detokenize(get(), ids.data(), ids.size(), with_special, nullptr, 0, &bytes);
    std::string text(bytes, 0);
    smelt_detokenize(get(), ids.data(), ids.size(), with_special, text.data(), bytes, &bytes);
    return text;
  }

 private:
  struct Close {
    void operator()(smelt_tokenizer* tokenizer) const { smelt_tokenizer_close(tokenizer); }
  };
  std::unique_ptr<smelt_tokenizer, Close> tokenizer_;
};

// A chat template of a model file; any number of threads may share it.
class ChatTemplate {
 public:
  smelt_code Open(const ModelFile& file, const char* name = nullptr) {
    smelt_template* chat = nullptr;
    const smelt_code code = smelt_template_open(file.get(), name, &chat);
    if (code == SMELT_OK) template_.reset(chat);
    return code;
  }
  const smelt_template* get() const { return template_.get(); }

  // The text of a conversation, {"messages": [...], ...}: in place of what was in `text`.
  smelt_code Apply(std::string_view json, std::string* text) const {
    for (size_t bytes = 4096;;) {
      text->resize(bytes);
      const smelt_code code = smelt_apply_template(get(), json.data(), json.size(), nullptr, 0,
                                                   text->data(), text->size(), &bytes);
      if (code != SMELT_OK) return code;
      const bool done = bytes <= text->size();
      text->resize(bytes);
      if (done) return code;
    }
  }

 private:
  struct Close {
    void operator()(smelt_template* chat) const { smelt_template_close(chat); }
  };
  std::unique_ptr<smelt_template, Close> template_;
};

// Messages for ChatTemplate::Apply.
class Conversation {
 public:
  void Add(std::string_view role, std::string_view content) {
    messages_ += messages_.empty() ? "{\"role\":\"" : ",{\"role\":\"";
    Append(role);
    messages_ += "\",\"content\":\"";
    Append(content);
    messages_ += "\"}";
  }
  void Clear() { messages_.clear(); }
  std::string Json() const { return "{\"messages\":[" + messages_ + "]}"; }

 private:
  void Append(std::string_view text) {
    constexpr char kDigits[] = "0123456789abcdef";
    for (const char c : text) {
      const unsigned char byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || c == '"' || c == '\\') {
        messages_ += "\\u00";
        messages_ += kDigits[byte >> 4];
        messages_ += kDigits[byte & 15];
      } else {
        messages_ += c;
      }
    }
  }
  std::string messages_;
};

// Shows tokens as text while they come.
class TextStream {
 public:
  explicit TextStream(const TextTokenizer& tokenizer)
      : tokenizer_(tokenizer.get()), out_(smelt_stream_bytes(tokenizer_), 0) {}
  std::string_view Push(int64_t id) {
    return {out_.data(), smelt_stream_push(tokenizer_, &stream_, id, out_.data())};
  }
  std::string_view Finish() {
    return {out_.data(), smelt_stream_finish(tokenizer_, &stream_, out_.data())};
  }

 private:
  const smelt_tokenizer* tokenizer_;
  smelt_text_stream stream_ = SMELT_TEXT_STREAM;
  std::string out_;
};

// One running state of a model; used by one thread at a time.
class Runner {
 public:
  smelt_code Open(const ModelFile& file, const smelt_options& options = SMELT_OPTIONS) {
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
  smelt_code Save(const char* path) const { return smelt_session_save(get(), path); }
  smelt_code Load(const char* path) { return smelt_session_load(get(), path); }
  int64_t past() const { return smelt_past(get()); }

  // on_token(const smelt_token&) returns whether to go on.
  template <typename OnToken>
  smelt_code Generate(const std::vector<int64_t>& tokens, const smelt_generation& how,
                      OnToken on_token) {
    return smelt_generate(
        get(), tokens.data(), tokens.size(), &how,
        [](void* context, const smelt_token* token) {
          return (*static_cast<OnToken*>(context))(*token) ? 0 : 1;
        },
        &on_token);
  }
  void Cancel() { smelt_cancel(get()); }  // from any thread
  smelt_metrics Metrics() const {
    smelt_metrics metrics = {};
    metrics.struct_bytes = sizeof metrics;
    smelt_last_metrics(get(), &metrics);
    return metrics;
  }

 private:
  struct Close {
    void operator()(smelt_session* session) const { smelt_session_close(session); }
  };
  std::unique_ptr<smelt_session, Close> session_;
};

// Requests that share one model; any thread may use it.
class Batch {
 public:
  // on_events(const smelt_batch_event*, size_t) is called by the batch's thread, and outlives it.
  template <typename OnEvents>
  smelt_code Open(const ModelFile& file, const smelt_batch_options& options, OnEvents* on_events) {
    smelt_batch* batch = nullptr;
    const smelt_code code = smelt_batch_open(
        file.get(), &options,
        [](void* context, const smelt_batch_event* events, size_t count) {
          (*static_cast<OnEvents*>(context))(events, count);
        },
        on_events, &batch);
    if (code == SMELT_OK) batch_.reset(batch);
    return code;
  }
  smelt_code Submit(const std::vector<int64_t>& tokens, const smelt_generation& how,
                    int64_t* request) {
    return smelt_batch_submit(batch_.get(), tokens.data(), tokens.size(), &how, request);
  }
  void Cancel(int64_t request) { smelt_batch_cancel(batch_.get(), request); }
  smelt_batch_stats Stats() const {
    smelt_batch_stats stats = {};
    smelt_batch_read_stats(batch_.get(), &stats);
    return stats;
  }
  // Lets requests end by themselves, or cancels them, and frees; the destructor cancels.
  smelt_code Close(bool drain) { return smelt_batch_close(batch_.release(), drain); }

 private:
  struct End {
    void operator()(smelt_batch* batch) const { smelt_batch_close(batch, 0); }
  };
  std::unique_ptr<smelt_batch, End> batch_;
};

}  // namespace smelt
