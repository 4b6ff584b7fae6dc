// Binds the choice of tokens, for tests that hold it against Python's.
#pragma once

#include <nanobind/nanobind.h>

void BindSampler(nanobind::module_& m);
