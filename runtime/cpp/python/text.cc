// Tokenizers in Python: bytes of UTF-8 in, ids and offsets out.
#include "python/text.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "python/model.h"
#include "text/tokenizer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using smelt::text::Span;

using smelt::python::Raise;

// Grows to the longest text seen; one for each thread, so that tokenizers are shared freely.
struct Workspace {
  std::vector<uint64_t> scratch;
  std::vector<int64_t> ids;
  std::vector<Span> offsets;
};

struct PyTokenizer {
  std::vector<uint64_t> copy;  // 8-byte words: allocation aligns them to 16
  smelt::text::Tokenizer tokenizer;

  static std::unique_ptr<PyTokenizer> Open(const nb::bytes& bytes) {
    auto made = std::make_unique<PyTokenizer>();
    made->copy.resize((bytes.size() + 7) / 8);
    std::memcpy(made->copy.data(), bytes.c_str(), bytes.size());
    auto opened = smelt::text::Tokenizer::Open(made->copy.data(), bytes.size());
    if (!opened.ok()) Raise(opened.status());
    made->tokenizer = *opened;
    return made;
  }

  size_t Run(Workspace* work, const char* text, size_t bytes, bool special, bool characters,
             bool offsets) const {
    smelt::text::EncodeOptions options;
    options.special = special;
    options.unit = characters ? smelt::text::Unit::kCharacters : smelt::text::Unit::kBytes;
    size_t scratch = smelt::text::Tokenizer::ScratchBytes(bytes), most = bytes + 16;
    for (;;) {
      if (work->scratch.size() * 8 < scratch) work->scratch.resize(scratch / 8 + 1);
      if (work->ids.size() < most) work->ids.resize(most);
      if (offsets && work->offsets.size() < work->ids.size())
        work->offsets.resize(work->ids.size());
      smelt::text::TokenSink sink;
      sink.ids = work->ids.data();
      sink.offsets = offsets ? work->offsets.data() : nullptr;
      sink.capacity = work->ids.size();
      smelt::Status status = tokenizer.Encode(text, bytes, options, work->scratch.data(),
                                              work->scratch.size() * 8, &sink);
      if (status.code() == smelt::Code::kOutOfMemory && scratch < (size_t{1} << 36)) {
        scratch *= 4;
        continue;
      }
      Raise(status);
      if (sink.count <= sink.capacity) return sink.count;
      most = sink.count;
    }
  }

  nb::tuple Encode(const nb::bytes& text, bool special, bool characters) const {
    static thread_local Workspace work;
    const size_t count =
        Run(&work, text.c_str(), text.size(), special, characters, /*offsets=*/true);
    nb::list ids, offsets;
    for (size_t i = 0; i < count; ++i) {
      ids.append(work.ids[i]);
      offsets.append(nb::make_tuple(work.offsets[i].begin, work.offsets[i].end));
    }
    return nb::make_tuple(ids, offsets);
  }

  std::vector<int64_t> Ids(const nb::bytes& text, bool special) const {
    static thread_local Workspace work;
    const size_t count = Run(&work, text.c_str(), text.size(), special, false, false);
    return {work.ids.begin(), work.ids.begin() + static_cast<ptrdiff_t>(count)};
  }

  // Tokens of many texts, one behind the other: nothing of Python is touched between them.
  size_t Count(const std::vector<nb::bytes>& texts, bool offsets) const {
    Workspace work;
    size_t count = 0;
    for (const nb::bytes& text : texts)
      count += Run(&work, text.c_str(), text.size(), true, true, offsets);
    return count;
  }

  nb::bytes Decode(const std::vector<int64_t>& ids, bool skip_special) const {
    const size_t bytes = tokenizer.Decode(ids.data(), ids.size(), skip_special, nullptr, 0);
    std::vector<char> out(bytes + 1);
    tokenizer.Decode(ids.data(), ids.size(), skip_special, out.data(), bytes);
    return nb::bytes(out.data(), bytes);
  }
};

struct Stream {
  const PyTokenizer* of;
  bool skip_special;
  smelt::text::StreamState state = {};
  std::vector<char> out;

  Stream(const PyTokenizer* of, bool skip_special)
      : of(of), skip_special(skip_special), out(of->tokenizer.StreamBytes()) {}
  nb::bytes Push(int64_t id) {
    return nb::bytes(out.data(), of->tokenizer.Push(&state, id, skip_special, out.data()));
  }
  nb::bytes Flush() { return nb::bytes(out.data(), of->tokenizer.Finish(&state, out.data())); }
};

}  // namespace

void BindText(nb::module_& m) {
  nb::class_<PyTokenizer>(m, "Tokenizer")
      .def_static("open", &PyTokenizer::Open, "data"_a)
      .def_prop_ro("vocab_size", [](const PyTokenizer& t) { return t.tokenizer.vocab_size(); })
      .def("encode", &PyTokenizer::Encode, "text"_a, "special"_a = true, "characters"_a = true)
      .def("ids", &PyTokenizer::Ids, "text"_a, "special"_a = true)
      .def("count", &PyTokenizer::Count, "texts"_a, "offsets"_a = true)
      .def("decode", &PyTokenizer::Decode, "ids"_a, "skip_special"_a = true);
  nb::class_<Stream>(m, "TokenStream")
      .def(nb::init<const PyTokenizer*, bool>(), "tokenizer"_a, "skip_special"_a = true,
           nb::keep_alive<1, 2>())
      .def("push", &Stream::Push, "id"_a)
      .def("flush", &Stream::Flush);
}
