// Chat templates in Python: bytes of JSON in, bytes of text out.
#include "python/chat.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>
#include <vector>

#include "python/model.h"
#include "template/template.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using smelt::python::Raise;

struct PyTemplate {
  std::vector<uint64_t> copy;  // 8-byte words: allocation aligns them to 16
  smelt::chat::Template code;

  static std::unique_ptr<PyTemplate> Open(const nb::bytes& bytes) {
    auto made = std::make_unique<PyTemplate>();
    made->copy.resize((bytes.size() + 7) / 8);
    std::memcpy(made->copy.data(), bytes.c_str(), bytes.size());
    auto opened = smelt::chat::Template::Open(made->copy.data(), bytes.size());
    if (!opened.ok()) Raise(opened.status());
    made->code = *opened;
    return made;
  }

  nb::bytes Render(const nb::bytes& json, bool prepare, int64_t now) const {
    smelt::chat::RenderOptions options;
    options.prepare = prepare;
    options.now = now;
    size_t bytes = smelt::chat::Template::ScratchBytes(json.size()), most = 4096;
    for (;;) {
      const std::unique_ptr<uint64_t[]> scratch(new uint64_t[bytes / 8]);
      std::vector<char> out(most);
      smelt::chat::TextSink sink{out.data(), out.size(), 0};
      const smelt::Status status =
          code.Render(json.c_str(), json.size(), options, scratch.get(), bytes / 8 * 8, &sink);
      if (status.code() == smelt::Code::kOutOfMemory && bytes < (size_t{1} << 28)) {
        bytes *= 4;
        continue;
      }
      Raise(status);
      if (sink.count <= most) return nb::bytes(out.data(), sink.count);
      most = sink.count;
    }
  }
};

}  // namespace

void BindChat(nb::module_& m) {
  nb::class_<PyTemplate>(m, "Template")
      .def_static("open", &PyTemplate::Open, "data"_a)
      .def("render", &PyTemplate::Render, "json"_a, "prepare"_a = true, "now"_a = -1);
}
