// What python/text.cc adds to the module.
#pragma once

#include <nanobind/nanobind.h>

void BindText(nanobind::module_& m);
