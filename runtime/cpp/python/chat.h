// What python/chat.cc adds to the module.
#pragma once

#include <nanobind/nanobind.h>

void BindChat(nanobind::module_& m);
