// What the files of the C API share: the last error of a thread, and the model behind a handle.
#pragma once

#include "core/model.h"
#include "smelt/smelt.h"

namespace smelt {

// Keeps the message for smelt_error() and gives the code back.
smelt_code Fail(const Status& status);
const Model::Pointer& ModelOf(const smelt_model* model);

}  // namespace smelt
