// State whose rows have lengths of their own, for requests that come and go: which programs allow
// it, and calls over any rows of it.
#include <algorithm>
#include <cstring>

#include "core/function.h"

namespace smelt {
namespace {

// What an instruction may do with tensors whose size depends on how many tokens the longest row
// holds. Column j of such a tensor tells of a row's own entry j, so what works on each element
// alone gives each row what it would have alone.
enum Opcode : uint16_t {
  kLastElementwise = 33,
  kCast = 40,
  kCopy = 41,
  kFull = 42,
  kArange = 43,
  kGather = 46,
  kGatherElements = 47,
  kEmbedding = 48,
  kFirstReduction = 50,
  kLastReduction = 53,
  kCumsum = 55,
  kLinear = 60,
  kGatedLinear = 61,
  kRmsNorm = 70,
  kRope = 76,
  kLoadCache = 82,
  kAttention = 83,
};

class RowChecker {
 public:
  RowChecker(const Model& model, const FunctionRecord& f, uint32_t past, uint32_t batch)
      : m_(model), f_(f), past_(past), batch_(batch) {}

  // Whether rows must be adjacent: an instruction reads a cache as a tensor.
  bool adjacent() const { return adjacent_; }

  Status Check() {
    for (uint32_t i = 0; i < f_.outputs; ++i) {
      const PortRecord& port = m_.ports[f_.first_output + i];
      if (Wide(port.tensor)) {
        return Error(Code::kUnsupported, "output `%s` is as long as the longest row",
                     m_.Text(port.name));
      }
    }
    for (uint32_t i = 0; i < f_.instructions; ++i) {
      const InstructionRecord& record = m_.instructions[f_.first_instruction + i];
      const char* why = Refusal(record);
      if (why) {
        return Error(Code::kUnsupported, "rows of several lengths: %s (%s) %s",
                     m_.Text(record.source), FindOp(record.opcode)->name, why);
      }
    }
    return Status();
  }

 private:
  bool Depends(uint32_t dim, uint32_t symbol) const {
    return dim != kNone && symbol != kNone && (m_.dim_symbols[dim] >> symbol & 1);
  }
  bool Wide(uint32_t tensor) const {
    const TensorRecord& t = m_.tensors[tensor];
    for (int axis = 0; axis < t.rank; ++axis) {
      if (Depends(t.dims[axis], past_)) return true;
    }
    return false;
  }
  bool Cached(uint32_t tensor) const {
    const TensorRecord& t = m_.tensors[tensor];
    return t.storage == static_cast<uint8_t>(Storage::kState) &&
           m_.slots[t.index].kind == static_cast<uint8_t>(SlotKind::kAppend);
  }

  // The mask is all ones, wherever it is read.
  bool IsMask(const TensorRecord& t) const {
    return t.storage == static_cast<uint8_t>(Storage::kInput) &&
           std::strcmp(m_.Text(m_.ports[f_.first_input + t.index].name), "attention_mask") == 0;
  }

  // Null when each row gets what it would get alone.
  const char* Refusal(const InstructionRecord& record) {
    const OpSpec* spec = FindOp(record.opcode);
    const uint16_t op = record.opcode;
    const uint32_t* ids = m_.operands.data + record.first_operand;
    const uint32_t* in = ids + record.outputs;
    const uint32_t* words = m_.attributes.data + record.first_attribute;
    bool wide = false;
    for (uint32_t k = 0; k < uint32_t{record.outputs} + record.inputs; ++k) {
      if (ids[k] == kNone) continue;
      const TensorRecord& t = m_.tensors[ids[k]];
      if (t.strided && Depends(t.offset, past_) && !IsMask(t))
        return "reads from where the longest row ends";
      wide |= Wide(ids[k]);
    }
    for (uint32_t w = 0; w < record.attributes; ++w) {
      if (spec->words[w] == 'd' && Depends(words[w], past_))
        return "computes with the length of the longest row";
    }
    if (op >= kFirstReduction && op <= kLastReduction) {
      const TensorRecord& x = m_.tensors[in[0]];
      for (int axis = 0; axis < x.rank; ++axis) {
        if ((words[0] >> axis & 1) && Depends(x.dims[axis], batch_)) return "reduces over rows";
      }
    }
    if (op != kAttention && op != kLoadCache) {
      for (int k = 0; k < record.inputs; ++k) adjacent_ |= in[k] != kNone && Cached(in[k]);
    }
    if (op == kAttention) {
      if (Cached(in[1]) != Cached(in[2])) return "has keys in a cache and values elsewhere";
      const bool entries = Cached(in[1]) || (Wide(in[1]) && Wide(in[2]));
      return entries ? nullptr : "has keys that are not entries of the state";
    }
    if (!wide) return nullptr;
    if (op == kGather || op == kGatherElements)
      return Wide(in[0]) ? "gathers from entries of the longest row" : nullptr;
    if (op == kLinear || op == kGatedLinear || (op >= kRmsNorm && op <= kRope)) {
      const TensorRecord& x = m_.tensors[in[0]];  // along its last axis
      return Depends(x.dims[x.rank - 1], past_) ? "works along the longest row" : nullptr;
    }
    const bool each = op <= kLastElementwise || op == kCast || op == kCopy || op == kFull ||
                      op == kArange || op == kEmbedding || op == kCumsum || op == kLoadCache;
    return each ? nullptr : "works along the longest row";
  }

  const Model& m_;
  const FunctionRecord& f_;
  uint32_t past_, batch_;
  bool adjacent_ = false;
};

Status CannotShorten(int64_t row, int64_t length) {
  return Error(Code::kState, "row %lld cannot go back to %lld tokens", static_cast<long long>(row),
               static_cast<long long>(length));
}

}  // namespace

Status Session::CheckRows(uint32_t function) {
  const FunctionRecord& f = *functions_[function]->record;
  const uint32_t batch = model_->FindSymbol("batch");
  if (batch == kNone || seq_ == kNone || !functions_[function]->eats) {
    return Error(Code::kUnsupported, "function `%s` does not take rows of tokens",
                 model_->Text(f.name));
  }
  for (const SlotState& slot : slots_) {
    bool fits = model_->dim_symbols[slot.record->dims[0]] == uint64_t{1} << batch;
    for (uint32_t axis = 1; axis < slot.record->rank; ++axis) {
      const bool grows = slot.append() && axis == slot.record->axis;
      fits &= grows || model_->dim_symbols[slot.record->dims[axis]] == 0;
    }
    if (!fits) return Error(Code::kUnsupported, "state `%s` is not rows of one size", slot.name);
  }
  for (uint32_t i = 0; i < f.binds; ++i) {
    const BindRecord& b = model_->binds[f.first_bind + i];
    const bool state = b.source == static_cast<uint32_t>(BindSource::kSlot);
    if (!state || b.symbol == past_ || b.symbol == batch) continue;
    return Error(Code::kUnsupported, "`%s` is a size of the state",
                 model_->Text(model_->symbols[b.symbol].name));
  }
  RowChecker checker(*model_, f, past_, batch);
  SMELT_TRY(checker.Check());
  adjacent_rows_ = checker.adjacent();
  for (const SlotState& slot : slots_) adjacent_rows_ |= !slot.append();
  return Status();
}

Status Session::OpenRows(uint32_t function) {
  if (function >= functions_.size())
    return Error(Code::kInvalidArgument, "there is no function %u", function);
  SMELT_TRY(CheckRows(function));
  row_function_ = function;
  const size_t rows = static_cast<size_t>(most_[model_->FindSymbol("batch")]);
  constexpr size_t kMostRows = 1 << 16;
  if (rows < 1 || rows > kMostRows)
    return Error(Code::kInvalidArgument, "a session has 1 to %zu rows, not %zu", kMostRows, rows);
  row_lengths_.assign(rows, 0);
  window_lengths_.assign(rows, 0);
  Reset();
  return Status();
}

Status Session::RunRows(const InputArray* inputs, uint32_t count, const int64_t* rows,
                        int64_t row_count) {
  if (row_lengths_.empty()) return Error(Code::kState, "the session's state is not in rows");
  SMELT_TRY(CheckCount(row_function_, count));
  if (row_count < 1 || row_count > this->rows()) {
    return Error(Code::kInvalidArgument, "%lld rows are not possible, there are %lld",
                 static_cast<long long>(row_count), static_cast<long long>(this->rows()));
  }
  int64_t longest = 0;
  for (int64_t b = 0; b < row_count; ++b) {
    const int64_t row = rows[b];
    bool good = row >= 0 && row < this->rows() && (!adjacent_rows_ || row == rows[0] + b);
    for (int64_t other = 0; other < b; ++other) good &= rows[other] != row;
    if (!good) {
      return Error(Code::kInvalidArgument, "row %lld at place %lld: rows are distinct%s",
                   static_cast<long long>(row), static_cast<long long>(b),
                   adjacent_rows_ ? " and adjacent" : "");
    }
    const int64_t length = row_lengths_[static_cast<size_t>(row)];
    if (length < 0) {
      return Error(Code::kState, "a call failed half way in row %lld: shorten it to nothing",
                   static_cast<long long>(row));
    }
    window_lengths_[static_cast<size_t>(b)] = length;
    longest = std::max(longest, length);
  }
  window_ = {{rows, window_lengths_.data()}, row_count, longest};
  for (SlotState& slot : slots_) slot.window = &window_;
  Function& f = *functions_[row_function_];
  Status status = Invoke(&f, inputs);
  for (SlotState& slot : slots_) slot.window = nullptr;
  for (int64_t b = 0; b < row_count && (status.ok() || broken_); ++b) {
    int64_t& length = row_lengths_[static_cast<size_t>(rows[b])];
    length = broken_ ? -1 : length + f.values[seq_];
  }
  window_ = {};
  broken_ = false;  // the other rows are not
  return status;
}

bool Session::Keeps(int64_t row, int64_t length) const {
  if (row < 0 || row >= rows() || length < 0 || length > std::max<int64_t>(row_length(row), 0))
    return false;
  for (const SlotState& slot : slots_) {
    if (length > 0 && !smelt::Keeps(slot, row_length(row), length)) return false;
  }
  return true;
}

Status Session::ShortenRow(int64_t row, int64_t length) {
  if (!Keeps(row, length)) return CannotShorten(row, length);
  for (SlotState& slot : slots_) {  // replaced slots start as zeros
    if (slot.append() || length > 0 || !slot.data) continue;
    std::memset(slot.data + row * slot.row_bytes(), 0, static_cast<size_t>(slot.row_bytes()));
  }
  row_lengths_[static_cast<size_t>(row)] = length;
  return Status();
}

Status Session::CopyRow(int64_t from, int64_t to, int64_t length) {
  if (!Keeps(from, length)) return CannotShorten(from, length);
  if (!Keeps(to, 0)) return CannotShorten(to, 0);
  if (from == to) return ShortenRow(to, length);
  if (length == 0) return ShortenRow(to, 0);
  for (SlotState& slot : slots_) CopySlotRow(&slot, from, to, length);
  row_lengths_[static_cast<size_t>(to)] = length;
  return Status();
}

}  // namespace smelt
