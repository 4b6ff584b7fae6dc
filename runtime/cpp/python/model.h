// What the bindings share: an opened model, and errors as exceptions.
#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <utility>

#include "core/model.h"

namespace smelt::python {

// The message and its code; Python turns it into an ArtifactError with a hint.
inline void Raise(const Status& status) {
  if (status.ok()) return;
  const nanobind::tuple args =
      nanobind::make_tuple(static_cast<int>(status.code()), status.message());
  PyErr_SetObject(PyExc_RuntimeError, args.ptr());
  throw nanobind::python_error();
}

template <typename T>
T Take(Result<T> result) {
  if (!result.ok()) Raise(result.status());
  return std::move(*result);
}

struct Model {
  smelt::Model::Pointer model;

  static Model Open(const std::string& path) { return {Take(smelt::Model::Open(path.c_str()))}; }
  void VerifyChecksums() const { Raise(model->VerifyChecksums()); }
  int64_t Setting(const std::string& key, int64_t missing) const {
    return model->Setting(key.c_str(), missing);
  }
};

}  // namespace smelt::python
