// Continuous batching in Python.
#pragma once

#include <nanobind/nanobind.h>

#include "core/model.h"

// Adds the class Batch, which opens what `model_of` finds behind a Python object.
void BindBatch(nanobind::module_& m,
               const smelt::Model::Pointer& (*model_of)(const nanobind::object&));
