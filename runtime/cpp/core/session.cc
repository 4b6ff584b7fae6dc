#include "core/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/checked.h"
#include "core/function.h"

namespace smelt {

// Symbols get their values from the sizes of inputs and from the entries that slots hold.
Status Session::Bind(const FunctionRecord& record, const InputArray* inputs,
                     int64_t* values) const {
  uint64_t bound = 0;
  for (uint32_t i = 0; i < record.binds; ++i) {
    const BindRecord& b = model_->binds[record.first_bind + i];
    const SymbolRecord& symbol = model_->symbols[b.symbol];
    const char* name = model_->Text(symbol.name);
    int64_t value;
    if (b.source == static_cast<uint32_t>(BindSource::kSlot)) {
      const SlotState& slot = slots_[b.index];
      const bool grows = slot.append() && b.axis == slot.record->axis;
      value = slot.window ? grows ? slot.window->longest : slot.window->count
              : slot.held ? slot.dims[b.axis]
                          : 0;
    } else if (b.source == static_cast<uint32_t>(BindSource::kTokens)) {
      value = window_.count ? window_.longest : tokens_;
    } else if (b.source == static_cast<uint32_t>(BindSource::kAsked)) {
      value = std::min({asked_, most_[b.symbol], values[b.index]});
    } else {
      const PortRecord& port = model_->ports[record.first_input + b.index];
      if (inputs[b.index].rank <= static_cast<int>(b.axis)) {
        return Error(Code::kInvalidArgument, "input `%s` has rank %d", model_->Text(port.name),
                     inputs[b.index].rank);
      }
      value = inputs[b.index].dims[b.axis];
    }
    const uint64_t bit = uint64_t{1} << b.symbol;
    if ((bound & bit) && values[b.symbol] != value) {
      return Error(Code::kInvalidArgument, "`%s` is %lld in one place and %lld in another", name,
                   static_cast<long long>(values[b.symbol]), static_cast<long long>(value));
    }
    if (value < symbol.low || value > most_[b.symbol]) {
      return Error(Code::kInvalidArgument, "`%s` is %lld, this session allows %lld to %lld", name,
                   static_cast<long long>(value), static_cast<long long>(symbol.low),
                   static_cast<long long>(most_[b.symbol]));
    }
    values[b.symbol] = value;
    bound |= bit;
  }
  return Status();
}

Status Session::Resolve(Function* f, uint64_t changed) {
  for (uint32_t i = 0; i < f->record->tensors; ++i) {
    if (f->view_symbols[i] & changed || changed == kAllSymbols) {
      Status status = ResolveTensor(f, i);
      if (!status.ok()) {
        const TensorRecord& t = model_->tensors[f->record->first_tensor + i];
        return std::move(status).In("tensor %u `%s`", i, model_->Text(t.name));
      }
    }
  }
  return Status();
}

Status Session::ResolveTensor(Function* f, uint32_t id) {
  const TensorRecord& t = model_->tensors[f->record->first_tensor + id];
  View& view = f->views[id];
  if (view.packed) return Status();  // its shape is that of the weight
  int64_t count = 1, room = 1;       // room: empty axes taken as 1, so that strides stay small too
  for (int axis = 0; axis < t.rank; ++axis) {
    const int64_t size = view.dims[axis] = f->dims[t.dims[axis]];
    if (size < 0 || !CheckedMul(room, std::max<int64_t>(size, 1), &room) || room > kMaxBytes) {
      return Error(Code::kInvalidArgument, "size %lld on axis %d is not possible",
                   static_cast<long long>(size), axis);
    }
    count *= size;
  }
  view.count = count;
  int64_t dense = 1;
  for (int axis = t.rank - 1; axis >= 0; --axis) {
    view.strides[axis] = dense;
    dense *= std::max<int64_t>(view.dims[axis], 1);
  }
  view.contiguous = true;
  int64_t offset = 0, reach = count;  // reach: elements from the offset to the end of the last one
  if (t.strided) {
    offset = t.offset == kNone ? 0 : f->dims[t.offset];
    reach = count ? 1 : 0;
    for (int axis = 0; axis < t.rank; ++axis) {
      const int64_t stride = f->dims[t.strides[axis]];
      if (view.dims[axis] > 1 && stride != view.strides[axis]) view.contiguous = false;
      view.strides[axis] = stride;
      int64_t span = 0;
      const int64_t steps = std::max<int64_t>(view.dims[axis] - 1, 0);
      if (stride < 0 || stride > kMaxBytes || !CheckedMul(steps, stride, &span) ||
          span > kMaxBytes || (reach += span) > kMaxBytes) {
        return Error(Code::kBadFile, "stride %lld on axis %d is not possible",
                     static_cast<long long>(stride), axis);
      }
    }
    if (count <= 1) view.contiguous = true;
  }
  int64_t capacity = 0;  // bytes
  switch (static_cast<Storage>(t.storage)) {
    case Storage::kArena:
      capacity = f->sizes[t.index];
      view.data = arena_ ? arena_ + f->offsets[t.index] : nullptr;
      break;
    case Storage::kWeight: {
      const WeightRecord& weight = model_->weights[t.index];
      capacity = static_cast<int64_t>(weight.bytes);
      view.data = const_cast<uint8_t*>(model_->WeightData(weight));
      break;
    }
    case Storage::kInput: {
      // The caller's array has the dims of its port, which Run compares.
      const TensorRecord& port =
          model_->tensors[model_->ports[f->record->first_input + t.index].tensor];
      capacity = ElemBytes(static_cast<Elem>(port.elem));
      for (int axis = 0; axis < port.rank; ++axis) {
        const int64_t size = f->dims[port.dims[axis]];
        if (size < 0 || !CheckedMul(capacity, size, &capacity) || capacity > kMaxBytes) {
          return Error(Code::kInvalidArgument, "size %lld is not possible",
                       static_cast<long long>(size));
        }
      }
      if (t.elem != port.elem) return Error(Code::kBadFile, "an input is read as another type");
      view.data = static_cast<uint8_t*>(const_cast<void*>(f->inputs[t.index]));
      break;
    }
    case Storage::kState:
      SMELT_TRY(ResolveState(&slots_[t.index], &view));
      view.contiguous = !slots_[t.index].append();
      return Status();
  }
  const int64_t bytes = ElemBytes(view.elem);
  if (offset < 0 || offset > kMaxBytes || (count && (offset + reach) * bytes > capacity)) {
    return Error(Code::kInvalidArgument, "needs %lld elements from %lld on, %lld were planned",
                 static_cast<long long>(reach), static_cast<long long>(offset),
                 static_cast<long long>(capacity / bytes));
  }
  if (view.data && count) view.data += offset * bytes;
  return Status();
}

Status Session::CheckCalls(Function* f, uint64_t changed) {
  for (size_t i = 0; i < f->calls.size(); ++i) {
    if (!(f->call_symbols[i] & changed) && changed != kAllSymbols) continue;
    Status status = f->specs[i]->check(f->calls[i]);
    if (status.ok() && scratch_ && f->specs[i]->scratch &&
        f->specs[i]->scratch(f->calls[i]) > memory_.scratch) {
      status = Error(Code::kInvalidArgument, "needs more scratch memory than was planned");
    }
    if (!status.ok()) {
      const InstructionRecord& record = model_->instructions[f->record->first_instruction + i];
      return std::move(status).In("instruction %zu (%s, %s)", i, f->specs[i]->name,
                                  model_->Text(record.source));
    }
  }
  return Status();
}

Status Session::Run(uint32_t function, const InputArray* inputs, uint32_t count) {
  if (function >= functions_.size())
    return Error(Code::kInvalidArgument, "there is no function %u", function);
  if (broken_) return Error(Code::kState, "an earlier call failed half way: reset the session");
  if (!row_lengths_.empty()) return Error(Code::kState, "the session's state is in rows");
  SMELT_TRY(CheckCount(function, count));
  return Invoke(functions_[function].get(), inputs);
}

Status Session::CheckCount(uint32_t function, uint32_t count) const {
  const FunctionRecord& record = *functions_[function]->record;
  if (count == record.inputs) return Status();
  return Error(Code::kInvalidArgument, "function `%s` has %u inputs, %u are given",
               model_->Text(record.name), record.inputs, count);
}

Status Session::Invoke(Function* function, const InputArray* inputs) {
  Function& f = *function;
  const FunctionRecord& record = *f.record;
  const uint32_t count = record.inputs;
  int64_t values[64] = {};
  SMELT_TRY(Bind(record, inputs, values));
  uint64_t changed = f.valid ? 0 : kAllSymbols;
  for (uint32_t i = 0; i < model_->symbols.count; ++i) {
    if (f.values[i] != values[i]) changed |= uint64_t{1} << i;
    f.values[i] = values[i];
  }
  f.valid = false;
  if (changed) EvaluateDims(*model_, f.values.data(), f.dims.data());
  for (uint32_t i = 0; i < count; ++i) {
    const PortRecord& port = model_->ports[record.first_input + i];
    const TensorRecord& t = model_->tensors[port.tensor];
    const InputArray& input = inputs[i];
    const char* name = model_->Text(port.name);
    if (input.elem != static_cast<Elem>(t.elem) || input.rank != t.rank) {
      return Error(Code::kInvalidArgument, "input `%s` is %s of rank %d, wants %s of rank %d", name,
                   ElemName(input.elem), input.rank, ElemName(static_cast<Elem>(t.elem)), t.rank);
    }
    bool empty = false;
    for (int axis = 0; axis < t.rank; ++axis) {
      const int64_t wants = f.dims[t.dims[axis]];
      if (input.dims[axis] != wants) {
        return Error(Code::kInvalidArgument, "input `%s` has size %lld on axis %d, wants %lld",
                     name, static_cast<long long>(input.dims[axis]), axis,
                     static_cast<long long>(wants));
      }
      empty |= wants == 0;
    }
    if ((!input.data && !empty) ||
        reinterpret_cast<uintptr_t>(input.data) % ElemBytes(input.elem)) {
      return Error(Code::kInvalidArgument, "input `%s` is not aligned to its elements", name);
    }
    f.inputs[i] = input.data;
  }
  // State and inputs lie elsewhere each time; a high bit stands for them.
  constexpr uint64_t kPlaces = uint64_t{1} << 63;
  SMELT_TRY(Resolve(&f, changed | kPlaces));
  for (SlotState& slot : slots_) slot.next = -1;
  SMELT_TRY(CheckCalls(&f, changed | kPlaces));
  f.valid = true;
  Status status = Execute(&f);
  if (!status.ok()) return status;
  Commit(f);
  return Status();
}

Status Session::Execute(Function* f) {
  using Clock = std::chrono::steady_clock;
  for (uint32_t i = 0; i < f->record->tensors; ++i) {  // replaced slots start as zeros
    const int32_t index = f->views[i].slot;
    if (index < 0 || slots_[index].append() || slots_[index].held || slots_[index].window) continue;
    std::memset(slots_[index].data, 0, static_cast<size_t>(slots_[index].bytes));
  }
  const uint32_t index = static_cast<uint32_t>(f->record - model_->functions.data);
  for (size_t i = 0; i < f->calls.size(); ++i) {
    const auto start = profiler_ ? Clock::now() : Clock::time_point();
    Status status = f->specs[i]->run(f->calls[i]);
    if (__builtin_expect(!status.ok(), 0)) {
      for (const SlotState& slot : slots_) broken_ |= !slot.append() && slot.next >= 0;
      const InstructionRecord& record = model_->instructions[f->record->first_instruction + i];
      return std::move(status).In("%s (%s)", model_->Text(record.source), f->specs[i]->name);
    }
    if (profiler_) {
      const std::chrono::duration<double> spent = Clock::now() - start;
      profiler_(profile_context_, index, static_cast<uint32_t>(i), spent.count());
    }
  }
  return Status();
}

// Caches grow only when the whole call has succeeded.
void Session::Commit(const Function& f) {
  bool wrote = false;
  for (SlotState& slot : slots_) {
    if (slot.next < 0) continue;
    wrote = true;
    if (slot.window) {
      slot.next = -1;
      continue;
    }
    if (slot.append()) slot.dims[slot.record->axis] = slot.next;
    slot.held = true;
    slot.next = -1;
  }
  if (wrote && f.eats && !window_.count) tokens_ += f.values[seq_];
}

const View& Session::Output(uint32_t function, uint32_t index) const {
  const Function& f = *functions_[function];
  return f.views[model_->ports[f.record->first_output + index].tensor - f.record->first_tensor];
}

const Call& Session::CallAt(uint32_t function, uint32_t instruction) const {
  return functions_[function]->calls[instruction];
}

void Session::Reset() {
  for (SlotState& slot : slots_) {
    slot.held = false;
    slot.next = -1;
    std::fill(slot.dims, slot.dims + kMaxRank, 0);
  }
  for (int64_t row = 0; row < rows(); ++row) static_cast<void>(ShortenRow(row, 0));
  broken_ = false;
  tokens_ = 0;
}

Status Session::Rewind(int64_t past) {
  if (!row_lengths_.empty()) return Error(Code::kState, "the session's state is in rows");
  if (past == tokens_) return Status();
  bool fixed = true;  // replaced slots of functions that append cannot go back
  for (const SlotState& slot : slots_) fixed &= !slot.append();
  if (fixed) return Error(Code::kState, "this model's state cannot be rewound");
  for (const auto& f : functions_) {
    bool appends = false;
    const char* replaced = nullptr;
    for (size_t i = 0; i < f->calls.size(); ++i) {
      if (std::strcmp(f->specs[i]->words, "s") != 0) continue;
      const SlotState& slot = f->calls[i].Slot(0);
      appends |= slot.append();
      if (!slot.append() && slot.held) replaced = slot.name;
    }
    if (appends && replaced) return Error(Code::kState, "state `%s` cannot be rewound", replaced);
  }
  for (const SlotState& slot : slots_) SMELT_TRY(CheckRewind(slot, past));
  for (SlotState& slot : slots_) {
    if (slot.append() && slot.held) slot.dims[slot.record->axis] = past;
    if (past == 0 && slot.append()) slot.held = false;
  }
  tokens_ = past;
  return Status();
}

Status Session::Reorder(const int64_t* rows, int64_t count) {
  if (!row_lengths_.empty()) return Error(Code::kState, "the session's state is in rows");
  const int64_t bytes = memory_.activations + memory_.scratch;
  for (const SlotState& slot : slots_) {
    if (slot.held && count > slot.limits[0]) {
      return Error(Code::kInvalidArgument, "%lld rows are more than the %lld of this session",
                   static_cast<long long>(count), static_cast<long long>(slot.limits[0]));
    }
  }
  for (SlotState& slot : slots_) SMELT_TRY(ReorderSlot(&slot, rows, count, arena_, bytes));
  return Status();
}

Status Session::ReadState(uint32_t slot, void* out, int64_t bytes) const {
  if (slot >= slots_.size())
    return Error(Code::kInvalidArgument, "there is no state slot %u", slot);
  return ReadSlot(exec_, slots_[slot], out, bytes);
}

}  // namespace smelt
