// What an instruction is: one row a opcode in ops/table.cc, one Call an instruction of a session.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "core/view.h"
#include "kernels/kernels.h"

namespace smelt {

constexpr int kMaxInputs = 8;
constexpr int kMaxOutputs = 4;
struct RowWindow;
struct SlotState;

// An instruction with its operands resolved. Pointers inside views are valid in Run only.
struct Call {
  const View* in[kMaxInputs] = {};  // null: an optional operand that is absent
  const View* out[kMaxOutputs] = {};
  const uint32_t* words = nullptr;
  const int64_t* dim_values = nullptr;
  SlotState* slots = nullptr;
  const RowWindow* window = nullptr;  // of the running call; its count is 0 without
  const Exec* exec = nullptr;
  uint8_t* scratch = nullptr;

  int64_t Dim(int i) const { return dim_values[words[i]]; }
  uint32_t Word(int i) const { return words[i]; }
  float Float(int i) const {
    float value;
    __builtin_memcpy(&value, words + i, sizeof value);
    return value;
  }
  SlotState& Slot(int i) const;
};

using OpCheck = Status (*)(const Call&);
using OpRun = Status (*)(const Call&);
using OpScratch = int64_t (*)(const Call&);

struct OpSpec {
  uint16_t opcode;
  const char* name;
  const char* inputs;  // one letter each: x required, ? optional
  uint8_t outputs;
  const char* words;  // one letter each: d dim node, s slot, w word, f f32
  OpCheck check;      // everything Run relies on; shapes are concrete
  OpRun run;
  OpScratch scratch;  // null: none
  bool in_place;      // an output may be exactly one of the inputs
};

// Null when this runtime has no such opcode.
const OpSpec* FindOp(uint16_t opcode);

}  // namespace smelt
