// What a session knows about one function: its sizes for the last call, its views and calls.
#pragma once

#include <vector>

#include "core/session.h"

namespace smelt {

struct Session::Function {
  const FunctionRecord* record = nullptr;
  std::vector<int64_t> values;   // of all symbols, at the last call
  std::vector<int64_t> dims;     // of all dim nodes
  std::vector<int64_t> sizes;    // bytes of each buffer
  std::vector<int64_t> offsets;  // of each buffer in the arena
  std::vector<View> views;
  std::vector<uint64_t> view_symbols;  // symbols that a view depends on
  std::vector<const void*> inputs;     // the caller's pointers
  std::vector<const OpSpec*> specs;
  std::vector<Call> calls;
  std::vector<uint64_t> call_symbols;
  bool eats = false;   // it binds `seq` from an input: tokens
  bool valid = false;  // views and checks fit `values`
};

constexpr uint64_t kAllSymbols = ~uint64_t{0};
constexpr int64_t kPoison = INT64_MIN;  // a dim that cannot be computed

// Every dim node for these symbol values; what overflows or divides by zero is kPoison.
void EvaluateDims(const Model& model, const int64_t* values, int64_t* dims);

}  // namespace smelt
