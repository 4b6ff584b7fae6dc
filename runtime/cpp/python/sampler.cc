// The choice of tokens in Python: settings as a dict with the names of smelt_generation.
#include "python/sampler.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "generation/sampler.h"
#include "python/model.h"
#include "text/tokenizer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Tokens = std::vector<int64_t>;
using smelt::generation::Sampler;
using smelt::generation::Workspace;

using smelt::python::Raise;
using smelt::python::Take;

smelt_ids Ids(const Tokens& from) {
  static const int64_t kNone = 0;
  return {from.empty() ? &kNone : from.data(), from.size()};
}

// A smelt_generation and what it points to.
class How {
 public:
  explicit How(const nb::dict& options) : options_(options) {
    const std::pair<const char*, double*> reals[] = {
        {"max_time", &how_.max_time},
        {"temperature", &how_.temperature},
        {"top_h", &how_.top_h},
        {"top_p", &how_.top_p},
        {"min_p", &how_.min_p},
        {"typical_p", &how_.typical_p},
        {"epsilon_cutoff", &how_.epsilon_cutoff},
        {"eta_cutoff", &how_.eta_cutoff},
        {"encoder_repetition_penalty", &how_.encoder_repetition_penalty},
        {"repetition_penalty", &how_.repetition_penalty},
        {"frequency_penalty", &how_.frequency_penalty},
        {"presence_penalty", &how_.presence_penalty},
        {"decay_factor", &how_.decay_factor},
        {"watermark_bias", &how_.watermark_bias},
        {"watermark_ratio", &how_.watermark_ratio},
    };
    for (const auto& [name, to] : reals) Take(name, to);
    const std::pair<const char*, int64_t*> wholes[] = {
        {"max_new_tokens", &how_.max_new_tokens},
        {"min_new_tokens", &how_.min_new_tokens},
        {"min_length", &how_.min_length},
        {"row", &how_.row},
        {"logprobs", &how_.logprobs},
        {"top_k", &how_.top_k},
        {"no_repeat_ngram_size", &how_.no_repeat_ngram_size},
        {"encoder_no_repeat_ngram_size", &how_.encoder_no_repeat_ngram_size},
        {"forced_bos", &how_.forced_bos},
        {"decay_start", &how_.decay_start},
        {"watermark_key", &how_.watermark_key},
        {"watermark_width", &how_.watermark_width},
        {"watermark_self", &how_.watermark_self},
    };
    for (const auto& [name, to] : wholes) Take(name, to);
    Take("seed", &how_.seed);
    const std::pair<const char*, smelt_ids*> lists[] = {{"eos", &how_.eos},
                                                        {"forced_eos", &how_.forced_eos},
                                                        {"suppress", &how_.suppress},
                                                        {"begin_suppress", &how_.begin_suppress}};
    lists_.reserve(4);
    for (const auto& [name, to] : lists) {
      Tokens found;
      if (!Take(name, &found)) continue;
      lists_.push_back(std::move(found));
      *to = Ids(lists_.back());
    }
    if (Take("bad_words", &bad_words_)) {
      for (const Tokens& ids : bad_words_) words_.push_back(Ids(ids));
      how_.bad_words = words_.data(), how_.bad_words_count = words_.size();
    }
    if (Take("sequence_bias", &pairs_)) {
      for (const auto& [ids, bias] : pairs_) biases_.push_back({Ids(ids), bias});
      how_.sequence_bias = biases_.data(), how_.sequence_bias_count = biases_.size();
    }
    how_.stop_count = Strings("stop", &stops_, &stop_texts_, &how_.stop);
    how_.without_count = Strings("without", &without_, &without_texts_, &how_.without);
    if (taken_ != options_.size()) throw nb::value_error("an option has no field");
  }
  const smelt_generation& get() const { return how_; }

 private:
  template <typename T>
  bool Take(const char* name, T* to) {
    if (!options_.contains(name)) return false;
    *to = nb::cast<T>(options_[name]);
    ++taken_;
    return true;
  }
  size_t Strings(const char* name, std::vector<std::string>* kept, std::vector<const char*>* texts,
                 const char* const** to) {
    if (!Take(name, kept)) return 0;
    for (const std::string& text : *kept) texts->push_back(text.c_str());
    texts->push_back(nullptr);
    *to = texts->data();
    return kept->size();
  }

  const nb::dict& options_;
  size_t taken_ = 0;
  smelt_generation how_ = SMELT_GENERATION;
  std::vector<Tokens> lists_, bad_words_;
  std::vector<smelt_ids> words_;
  std::vector<std::pair<Tokens, double>> pairs_;
  std::vector<smelt_bias> biases_;
  std::vector<std::string> stops_, without_;
  std::vector<const char*> stop_texts_, without_texts_;
};

struct PySampler {
  smelt::Model::Pointer model;
  std::unique_ptr<smelt::text::Tokenizer> tokenizer;
  Sampler sampler;
  Workspace work;

  static std::unique_ptr<PySampler> Make(const smelt::python::Model& from, const nb::dict& options,
                                         int64_t context) {
    const smelt::Model& model = *from.model;
    std::unique_ptr<smelt::text::Tokenizer> tokenizer;
    if (const smelt::FileRecord* file = model.FindFile("tokenizer.tables")) {
      tokenizer = std::make_unique<smelt::text::Tokenizer>(
          Take(smelt::text::Tokenizer::Open(model.FileData(*file), file->bytes)));
    }
    const How how(options);
    Sampler made = Take(Sampler::Make(model, &how.get(), tokenizer.get(), context));
    return std::unique_ptr<PySampler>(
        new PySampler{from.model, std::move(tokenizer), std::move(made),
                      Workspace(smelt::generation::VocabularyOf(model))});
  }

  void Begin(const Tokens& prompt) { Raise(sampler.Begin(prompt.data(), prompt.size())); }

  // The token, why it is the last, its text, its log-probability, and those of the likeliest.
  nb::tuple Choose(const nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>& logits) {
    if (static_cast<int64_t>(logits.shape(0)) != smelt::generation::VocabularyOf(*model))
      throw nb::value_error("the logits have another width");
    Take(sampler.Choose(logits.data(), &work));
    const smelt_token& token = sampler.token();
    nb::list top;
    for (size_t i = 0; i < token.top_count; ++i)
      top.append(nb::make_tuple(token.top[i].token, token.top[i].logprob));
    return nb::make_tuple(token.id, static_cast<int>(token.finish),
                          nb::bytes(token.text, token.text_bytes), token.logprob, top);
  }
};

}  // namespace

void BindSampler(nb::module_& m) {
  nb::class_<PySampler>(m, "Sampler")
      .def_static("make", &PySampler::Make, "model"_a, "options"_a, "context"_a)
      .def("begin", &PySampler::Begin, "prompt"_a)
      .def("choose", &PySampler::Choose, "logits"_a);
}
