#include "python/batch.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "batch/batcher.h"
#include "text/tokenizer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Ids = std::vector<int64_t>;

void Raise(const smelt::Status& status) {
  if (status.ok()) return;
  const nb::tuple args = nb::make_tuple(static_cast<int>(status.code()), status.message());
  PyErr_SetObject(PyExc_RuntimeError, args.ptr());
  throw nb::python_error();
}

// A smelt_generation and what it points to, out of a dict by its fields' names.
class Generation {
 public:
  explicit Generation(const nb::dict& given) {
    const std::pair<const char*, int64_t smelt_generation::*> wholes[] = {
        {"max_new_tokens", &smelt_generation::max_new_tokens},
        {"min_new_tokens", &smelt_generation::min_new_tokens},
        {"min_length", &smelt_generation::min_length},
        {"row", &smelt_generation::row},
        {"logprobs", &smelt_generation::logprobs},
        {"top_k", &smelt_generation::top_k},
        {"no_repeat_ngram_size", &smelt_generation::no_repeat_ngram_size},
        {"encoder_no_repeat_ngram_size", &smelt_generation::encoder_no_repeat_ngram_size},
        {"forced_bos", &smelt_generation::forced_bos},
        {"decay_start", &smelt_generation::decay_start},
        {"watermark_key", &smelt_generation::watermark_key},
        {"watermark_width", &smelt_generation::watermark_width},
        {"watermark_self", &smelt_generation::watermark_self}};
    const std::pair<const char*, double smelt_generation::*> reals[] = {
        {"max_time", &smelt_generation::max_time},
        {"temperature", &smelt_generation::temperature},
        {"top_h", &smelt_generation::top_h},
        {"top_p", &smelt_generation::top_p},
        {"min_p", &smelt_generation::min_p},
        {"typical_p", &smelt_generation::typical_p},
        {"epsilon_cutoff", &smelt_generation::epsilon_cutoff},
        {"eta_cutoff", &smelt_generation::eta_cutoff},
        {"encoder_repetition_penalty", &smelt_generation::encoder_repetition_penalty},
        {"repetition_penalty", &smelt_generation::repetition_penalty},
        {"frequency_penalty", &smelt_generation::frequency_penalty},
        {"presence_penalty", &smelt_generation::presence_penalty},
        {"decay_factor", &smelt_generation::decay_factor},
        {"watermark_bias", &smelt_generation::watermark_bias},
        {"watermark_ratio", &smelt_generation::watermark_ratio}};
    const std::pair<const char*, smelt_ids smelt_generation::*> lists[] = {
        {"eos", &smelt_generation::eos},
        {"forced_eos", &smelt_generation::forced_eos},
        {"suppress", &smelt_generation::suppress},
        {"begin_suppress", &smelt_generation::begin_suppress}};
    for (const auto& [name, field] : wholes) Read(given, name, &(how_.*field));
    for (const auto& [name, field] : reals) Read(given, name, &(how_.*field));
    Read(given, "seed", &how_.seed);
    for (const auto& [name, field] : lists) {
      Ids ids;
      if (Read(given, name, &ids)) how_.*field = Keep(std::move(ids));
    }
    std::vector<Ids> words;
    if (Read(given, "bad_words", &words)) {
      for (Ids& word : words) bad_words_.push_back(Keep(std::move(word)));
      how_.bad_words = bad_words_.data();
      how_.bad_words_count = bad_words_.size();
    }
    std::vector<double> biases;
    if (Read(given, "biased", &words) && Read(given, "biases", &biases)) {
      for (size_t i = 0; i < words.size() && i < biases.size(); ++i)
        biases_.push_back({Keep(std::move(words[i])), biases[i]});
      how_.sequence_bias = biases_.data();
      how_.sequence_bias_count = biases_.size();
    }
    ReadStrings(given, "stop", &stop_, &stop_pointers_, &how_.stop, &how_.stop_count);
    ReadStrings(given, "without", &without_, &without_pointers_, &how_.without,
                &how_.without_count);
  }
  const smelt_generation& get() const { return how_; }

 private:
  template <typename T>
  static bool Read(const nb::dict& given, const char* name, T* value) {
    if (!given.contains(name)) return false;
    *value = nb::cast<T>(given[name]);
    return true;
  }
  smelt_ids Keep(Ids ids) {
    ids.reserve(1);  // an empty list is not an absent one
    kept_.push_back(std::make_unique<Ids>(std::move(ids)));
    return {kept_.back()->data(), kept_.back()->size()};
  }
  static void ReadStrings(const nb::dict& given, const char* name,
                          std::vector<std::string>* strings, std::vector<const char*>* pointers,
                          const char* const** out, size_t* count) {
    Read(given, name, strings);
    for (const std::string& string : *strings) pointers->push_back(string.c_str());
    *out = pointers->data();
    *count = pointers->size();
  }

  smelt_generation how_ = SMELT_GENERATION;
  std::vector<std::unique_ptr<Ids>> kept_;
  std::vector<smelt_ids> bad_words_;
  std::vector<smelt_bias> biases_;
  std::vector<std::string> stop_, without_;
  std::vector<const char*> stop_pointers_, without_pointers_;
};

class Batch {
 public:
  Batch(smelt::Model::Pointer model, const smelt::batch::Options& options, nb::object on_events)
      : model_(std::move(model)), on_events_(std::move(on_events)) {
    if (const smelt::FileRecord* file = model_->FindFile("tokenizer.tables")) {
      auto opened = smelt::text::Tokenizer::Open(model_->FileData(*file), file->bytes);
      if (!opened.ok()) Raise(opened.status());
      tokenizer_.emplace(std::move(*opened));
    }
    auto opened = smelt::batch::Batcher::Open(model_, options, Deliver, this);
    if (!opened.ok()) Raise(opened.status());
    batcher_ = std::move(*opened);
  }
  ~Batch() {
    nb::gil_scoped_release release;  // the worker may want it for its last events
    batcher_.reset();
  }

  int64_t Submit(const Ids& ids, const nb::dict& how) {
    const Generation generation(how);
    int64_t request = 0;
    const smelt::text::Tokenizer* tokenizer = tokenizer_ ? &*tokenizer_ : nullptr;
    smelt::Status status;
    {
      nb::gil_scoped_release release;
      status = batcher_->Submit(ids.data(), ids.size(), &generation.get(), tokenizer, &request);
    }
    Raise(status);
    return request;
  }
  void Cancel(int64_t request) { batcher_->Cancel(request); }
  void Close(bool drain) {
    smelt::Status status;
    {
      nb::gil_scoped_release release;
      status = batcher_->Close(drain);
    }
    Raise(status);
    on_events_ = nb::none();  // it often leads back here
  }
  nb::dict Stats() const {
    const smelt_batch_stats stats = batcher_->Stats();
    nb::dict found;
    found["rows"] = stats.rows;
    found["running"] = stats.running;
    found["waiting"] = stats.waiting;
    found["finished"] = stats.finished;
    found["cancelled"] = stats.cancelled;
    found["failed"] = stats.failed;
    found["tokens"] = stats.tokens;
    found["prompt_tokens"] = stats.prompt_tokens;
    found["reused_tokens"] = stats.reused_tokens;
    found["steps"] = stats.steps;
    found["step_rows"] = stats.step_rows;
    return found;
  }
  nb::dict Memory() const {
    const smelt::MemoryUse& use = batcher_->memory();
    nb::dict found;
    found["weights"] = use.weights;
    found["state"] = use.state;
    found["activations"] = use.activations + use.scratch;
    return found;
  }
  bool has_text() const { return tokenizer_.has_value(); }
  int64_t context() const { return batcher_->context(); }

 private:
  // (request, token, text, logprob, top, finish, message) each.
  static nb::tuple TupleOf(const smelt_batch_event& event) {
    static const char* const kFinishes[] = {nullptr,   "eos",  "stop",     "length",
                                            "context", "time", "cancelled"};
    nb::list top;
    for (size_t i = 0; i < event.token.top_count; ++i)
      top.append(nb::make_tuple(event.token.top[i].token, event.token.top[i].logprob));
    const bool has_token = event.token.id >= 0, failed = event.error != SMELT_OK;
    const char* finish = failed ? "error" : kFinishes[event.token.finish];
    return nb::make_tuple(
        event.request, has_token ? nb::cast(event.token.id) : nb::none(),
        nb::str(event.token.text ? event.token.text : "", event.token.text_bytes),
        has_token && event.token.logprob == event.token.logprob ? nb::cast(event.token.logprob)
                                                                : nb::none(),
        top, finish ? nb::cast(finish) : nb::none(), failed ? nb::cast(event.message) : nb::none());
  }
  // The interpreter's lock is taken once a step.
  static void Deliver(void* self, const smelt_batch_event* events, size_t count) {
    nb::gil_scoped_acquire acquire;
    nb::object on_events = static_cast<Batch*>(self)->on_events_;
    try {
      nb::list found;
      for (size_t i = 0; i < count; ++i) found.append(TupleOf(events[i]));
      on_events(found);
    } catch (nb::python_error& error) {
      error.restore();
      PyErr_WriteUnraisable(on_events.ptr());
    }
  }

  smelt::Model::Pointer model_;
  nb::object on_events_;
  std::optional<smelt::text::Tokenizer> tokenizer_;
  std::unique_ptr<smelt::batch::Batcher> batcher_;
};

}  // namespace

void BindBatch(nb::module_& m, const smelt::Model::Pointer& (*model_of)(const nb::object&)) {
  nb::class_<Batch>(m, "Batch")
      .def_static(
          "open",
          [model_of](const nb::object& model, int threads, int64_t context, int64_t rows,
                     int64_t waiting, int64_t chunk, int64_t max_memory, nb::object on_events) {
            const smelt::batch::Options options{threads, context, rows, waiting, chunk, max_memory};
            return std::make_unique<Batch>(model_of(model), options, std::move(on_events));
          },
          "model"_a, "threads"_a, "context"_a, "rows"_a, "waiting"_a, "chunk"_a, "max_memory"_a,
          "on_events"_a)
      .def("submit", &Batch::Submit, "ids"_a, "how"_a)
      .def("cancel", &Batch::Cancel, "request"_a)
      .def("close", &Batch::Close, "drain"_a)
      .def("stats", &Batch::Stats)
      .def("memory", &Batch::Memory)
      .def_prop_ro("has_text", &Batch::has_text)
      .def_prop_ro("context", &Batch::context);
}
