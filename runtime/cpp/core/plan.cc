// Opening a session: limits, the memory plan, and the proof that it holds.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/check.h"
#include "core/checked.h"
#include "core/function.h"

namespace smelt {

void EvaluateDims(const Model& model, const int64_t* values, int64_t* dims) {
  for (uint32_t i = 0; i < model.dims.count; ++i) {
    const DimRecord& d = model.dims[i];
    const DimOp op = static_cast<DimOp>(d.op);
    if (op == DimOp::kConst || op == DimOp::kSymbol) {
      dims[i] = op == DimOp::kConst ? d.a : values[d.a];
      continue;
    }
    const int64_t a = dims[d.a], b = dims[d.b];
    bool good = a != kPoison && b != kPoison;
    if (op == DimOp::kAdd) good = good && CheckedAdd(a, b, &dims[i]);
    if (op == DimOp::kSub) good = good && CheckedSub(a, b, &dims[i]);
    if (op == DimOp::kMul) good = good && CheckedMul(a, b, &dims[i]);
    if (op == DimOp::kFloorDiv) {
      good = good && b > 0;
      if (good) dims[i] = FloorDiv(a, b);
    }
    if (!good) dims[i] = kPoison;
  }
}

class Planner {
 public:
  Planner(Session* session, const Options& options)
      : s_(*session), m_(*session->model_), options_(options) {}

  Status Plan() {
    if (!IsaSupported(options_.isa)) {
      return Error(Code::kUnsupported,
                   "this build's kernels need other instructions than this machine has");
    }
    SMELT_TRY(Limits());
    const std::vector<int64_t> values = s_.most_;
    std::vector<int64_t> dims(m_.dims.count);
    EvaluateDims(m_, values.data(), dims.data());
    SMELT_TRY(PlanSlots(m_, dims.data(), s_.context_, s_.chunk_, &s_.slots_, &s_.memory_.state));
    for (uint32_t i = 0; i < m_.weights.count; ++i) {
      const WeightRecord& w = m_.weights[i];
      const bool dense = w.format == kDense;
      s_.packed_.push_back(dense ? PackedMatrix() : MatrixAt(ShapeOf(w), m_.WeightData(w)));
      s_.packed_bytes_.push_back(dense ? 0 : LayoutOf(ShapeOf(w)).bytes);
    }
    s_.memory_.weights = m_.weight_bytes();
    for (uint32_t i = 0; i < m_.functions.count; ++i) {
      Status status = PlanFunction(i);
      if (!status.ok()) return std::move(status).In("function `%s`", m_.Text(m_.functions[i].name));
    }
    return Status();
  }

 private:
  // Limits come from the caller, else from the file's settings, else from the symbol itself.
  Status Limits() {
    const uint32_t past = s_.past_ = m_.FindSymbol("past");
    const uint32_t seq = s_.seq_ = m_.FindSymbol("seq");
    bool grows = past != kNone;
    for (const SlotRecord& slot : m_.slots)
      grows |= slot.kind == static_cast<uint8_t>(SlotKind::kAppend);
    s_.context_ = options_.context > 0 ? options_.context : m_.Setting("context", 0);
    if (grows && s_.context_ < 1)
      return Error(Code::kInvalidArgument, "the context length must be given");
    if (s_.context_ > (int64_t{1} << 32))
      return Error(Code::kInvalidArgument, "the context length is too large");
    for (uint32_t i = 0; i < m_.symbols.count; ++i) {
      const SymbolRecord& symbol = m_.symbols[i];
      char key[128];
      std::snprintf(key, sizeof key, "limit.%.100s", m_.Text(symbol.name));
      int64_t most = m_.Setting(key, symbol.high);
      for (const Limit& limit : options_.limits) {
        if (std::strcmp(limit.symbol, m_.Text(symbol.name)) == 0) most = limit.most;
      }
      if (grows && (i == past || i == seq))
        most = std::min(most, i == past ? s_.context_ - 1 : s_.context_);
      most = std::min(most, symbol.high);
      if (most < symbol.low) {
        return Error(Code::kInvalidArgument, "the limit of `%s` is %lld, at least %lld is needed",
                     m_.Text(symbol.name), static_cast<long long>(most),
                     static_cast<long long>(symbol.low));
      }
      s_.most_.push_back(most);
    }
    s_.chunk_ = seq != kNone ? s_.most_[seq] : 1;
    return Status();
  }

  // Sizes grow with each symbol, and past + seq is at most the context: the largest sizes are at
  // these corners. A call whose sizes would be larger still is refused when it is made.
  std::vector<std::vector<int64_t>> Corners(const Session::Function& f) const {
    std::vector<std::vector<int64_t>> corners;
    bool grows = false;
    for (uint32_t i = 0; i < f.record->binds; ++i) {
      const BindRecord& b = m_.binds[f.record->first_bind + i];
      grows |= b.symbol == s_.past_ && b.source != static_cast<uint32_t>(BindSource::kInput);
    }
    const uint32_t past = s_.past_, seq = s_.seq_;
    const uint32_t batch = m_.FindSymbol("batch");
    if (options_.rows && seq != kNone && batch != kNone && f.eats) {
      return RowCorners(f, grows ? past : kNone, batch);
    }
    if (!grows || seq == kNone) return {Fitted(f, s_.most_)};
    // Scratch memory may step with seq: look at its powers of two as well.
    std::vector<int64_t> lengths = {s_.chunk_};
    for (int64_t n = std::max<int64_t>(1, m_.symbols[seq].low); n < s_.chunk_; n *= 2)
      lengths.push_back(n);
    for (int64_t length : lengths) {
      for (int64_t held : {s_.context_ - length, int64_t{0}}) {
        std::vector<int64_t> values = s_.most_;
        values[seq] = length;
        values[past] = std::clamp(held, m_.symbols[past].low, s_.most_[past]);
        corners.push_back(Fitted(f, std::move(values)));
      }
    }
    return corners;
  }

  // One row of a chunk or of less, and one token of any number of rows.
  std::vector<std::vector<int64_t>> RowCorners(const Session::Function& f, uint32_t past,
                                               uint32_t batch) const {
    std::vector<std::vector<int64_t>> corners;
    const auto add = [&](int64_t rows, int64_t length) {
      for (int64_t held : {s_.context_ - length, int64_t{0}}) {
        std::vector<int64_t> values = s_.most_;
        values[batch] = rows, values[s_.seq_] = length;
        if (past != kNone) {
          values[past] = std::clamp(held, m_.symbols[past].low, s_.most_[past]);
        } else if (held == 0) {
          continue;
        }
        corners.push_back(Fitted(f, std::move(values)));
      }
    };
    const int64_t least = std::max<int64_t>(1, m_.symbols[s_.seq_].low);
    for (int64_t rows = 1; rows <= s_.most_[batch]; ++rows) add(rows, least);
    for (int64_t length = least; length < s_.chunk_; length *= 2) add(1, length);
    add(1, s_.chunk_);
    return corners;
  }

  // Nobody can ask for more rows than there are.
  std::vector<int64_t> Fitted(const Session::Function& f, std::vector<int64_t> values) const {
    for (uint32_t i = 0; i < f.record->binds; ++i) {
      const BindRecord& b = m_.binds[f.record->first_bind + i];
      if (b.source != static_cast<uint32_t>(BindSource::kAsked)) continue;
      values[b.symbol] = std::min(values[b.symbol], values[b.index]);
    }
    return values;
  }

  Status PlanFunction(uint32_t index) {
    s_.functions_.push_back(std::make_unique<Session::Function>());
    Session::Function& f = *s_.functions_.back();
    f.record = &m_.functions[index];
    f.values.resize(m_.symbols.count);
    f.dims.resize(m_.dims.count);
    f.sizes.resize(f.record->buffers);
    f.offsets.resize(f.record->buffers);
    f.views.resize(f.record->tensors);
    f.view_symbols.resize(f.record->tensors);
    f.inputs.resize(f.record->inputs);
    for (uint32_t i = 0; i < f.record->binds; ++i) {
      const BindRecord& b = m_.binds[f.record->first_bind + i];
      f.eats |= b.symbol == s_.seq_ && b.source == static_cast<uint32_t>(BindSource::kInput);
    }
    PrepareViews(&f);
    PrepareCalls(&f);
    const auto corners = Corners(f);
    for (const auto& values : corners) SMELT_TRY(GrowSizes(&f, values));
    SMELT_TRY(PlaceBuffers(&f));
    SMELT_TRY(CheckOverlap(f));
    for (const auto& values : corners) SMELT_TRY(CheckCorner(&f, values));
    return Status();
  }

  void PrepareViews(Session::Function* f) {
    for (uint32_t i = 0; i < f->record->tensors; ++i) {
      const TensorRecord& t = m_.tensors[f->record->first_tensor + i];
      View& view = f->views[i];
      view.elem = static_cast<Elem>(t.elem);
      view.rank = t.rank;
      uint64_t symbols = t.offset == kNone ? 0 : m_.dim_symbols[t.offset];
      for (int axis = 0; axis < t.rank; ++axis) {
        symbols |= m_.dim_symbols[t.dims[axis]];
        if (t.strided) symbols |= m_.dim_symbols[t.strides[axis]];
      }
      const Storage storage = static_cast<Storage>(t.storage);
      if (storage == Storage::kWeight && view.elem == Elem::kOpaque) {
        view.packed = &s_.packed_[t.index];
        view.packed_bytes = s_.packed_bytes_[t.index];
        const WeightRecord& weight = m_.weights[t.index];
        view.data = const_cast<uint8_t*>(m_.WeightData(weight));
        view.rank = weight.rank;
        view.count = 1;
        for (int axis = 0; axis < weight.rank; ++axis)
          view.count *= view.dims[axis] = weight.dims[axis];
        view.contiguous = false;
      }
      if (storage == Storage::kState) view.slot = static_cast<int32_t>(t.index);
      // Where these lie changes from call to call, whatever the symbols.
      if (storage == Storage::kState || storage == Storage::kInput) symbols = kAllSymbols;
      f->view_symbols[i] = symbols;
    }
  }

  void PrepareCalls(Session::Function* f) {
    for (uint32_t i = 0; i < f->record->instructions; ++i) {
      const InstructionRecord& record = m_.instructions[f->record->first_instruction + i];
      const OpSpec* spec = FindOp(record.opcode);
      Call call;
      uint64_t symbols = 0;
      const uint32_t* ids = m_.operands.data + record.first_operand;
      for (uint32_t k = 0; k < uint32_t{record.outputs} + record.inputs; ++k) {
        if (ids[k] == kNone) continue;
        const uint32_t local = ids[k] - f->record->first_tensor;
        (k < record.outputs ? call.out[k] : call.in[k - record.outputs]) = &f->views[local];
        symbols |= f->view_symbols[local];
      }
      call.words = m_.attributes.data + record.first_attribute;
      for (uint32_t w = 0; w < record.attributes; ++w) {
        if (spec->words[w] == 'd') symbols |= m_.dim_symbols[call.words[w]];
        if (spec->words[w] == 's') symbols = kAllSymbols;
      }
      call.dim_values = f->dims.data();
      call.slots = s_.slots_.data();
      call.window = &s_.window_;
      call.exec = &s_.exec_;
      f->specs.push_back(spec);
      f->calls.push_back(call);
      f->call_symbols.push_back(symbols);
    }
  }

  Status GrowSizes(Session::Function* f, const std::vector<int64_t>& values) {
    EvaluateDims(m_, values.data(), f->dims.data());
    for (uint32_t i = 0; i < f->record->buffers; ++i) {
      const int64_t bytes = f->dims[m_.buffers[f->record->first_buffer + i].bytes];
      if (bytes < 0 || bytes > kMaxBytes)
        return Error(Code::kOutOfMemory, "buffer %u is too large", i);
      f->sizes[i] = std::max(f->sizes[i], bytes);
    }
    return Status();
  }

  // Each buffer lies on top of the highest one that is alive with it and was placed before it.
  Status PlaceBuffers(Session::Function* f) {
    int64_t top = 0;
    for (uint32_t i = 0; i < f->record->buffers; ++i) {
      const BufferRecord& b = m_.buffers[f->record->first_buffer + i];
      int64_t offset = 0;
      for (uint32_t k = 0; k < b.below_count; ++k) {
        const uint32_t under = m_.below[b.first_below + k];
        offset = std::max(offset, f->offsets[under] + f->sizes[under]);
      }
      f->offsets[i] = AlignUp(offset);
      if (f->offsets[i] > kMaxBytes)
        return Error(Code::kOutOfMemory, "the activations are too large");
      top = std::max(top, f->offsets[i] + f->sizes[i]);
    }
    s_.memory_.activations = std::max(s_.memory_.activations, AlignUp(top));
    return Status();
  }

  // Walks the program with the set of living buffers; a new one may not touch any of them.
  Status CheckOverlap(const Session::Function& f) {
    const uint32_t count = f.record->buffers;
    std::vector<uint32_t> born(count, kNone), dies(count, 0);
    auto touch = [&](uint32_t tensor, uint32_t step) {
      const TensorRecord& t = m_.tensors[tensor];
      if (t.storage != static_cast<uint8_t>(Storage::kArena)) return;
      born[t.index] = std::min(born[t.index], step);
      dies[t.index] = std::max(dies[t.index], step);
    };
    for (uint32_t i = 0; i < f.record->instructions; ++i) {
      const InstructionRecord& record = m_.instructions[f.record->first_instruction + i];
      for (uint32_t k = 0; k < uint32_t{record.outputs} + record.inputs; ++k) {
        const uint32_t id = m_.operands[record.first_operand + k];
        if (id != kNone) touch(id, i);
      }
    }
    for (uint32_t i = 0; i < f.record->outputs; ++i) {
      touch(m_.ports[f.record->first_output + i].tensor, f.record->instructions);
    }
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < count; ++i) {
      if (born[i] != kNone && f.sizes[i] > 0) order.push_back(i);
    }
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return born[a] < born[b]; });
    std::vector<uint32_t> alive;
    for (uint32_t i : order) {
      alive.erase(
          std::remove_if(alive.begin(), alive.end(), [&](uint32_t a) { return dies[a] < born[i]; }),
          alive.end());
      for (uint32_t other : alive) {
        if (f.offsets[i] < f.offsets[other] + f.sizes[other] &&
            f.offsets[other] < f.offsets[i] + f.sizes[i]) {
          return Error(Code::kBadFile, "buffers %u and %u overlap while both are alive", other, i);
        }
      }
      alive.push_back(i);
    }
    return Status();
  }

  // Every instruction must accept the largest sizes; their scratch memory is shared.
  Status CheckCorner(Session::Function* f, const std::vector<int64_t>& values) {
    f->values = values;
    EvaluateDims(m_, values.data(), f->dims.data());
    SMELT_TRY(s_.Resolve(f, kAllSymbols));
    SMELT_TRY(s_.CheckCalls(f, kAllSymbols));
    for (size_t i = 0; i < f->calls.size(); ++i) {
      if (!f->specs[i]->scratch) continue;
      const int64_t bytes = f->specs[i]->scratch(f->calls[i]);
      if (bytes < 0 || bytes > kMaxBytes)
        return Error(Code::kOutOfMemory, "the scratch memory is too large");
      s_.memory_.scratch = std::max(s_.memory_.scratch, AlignUp(bytes));
    }
    return Status();
  }

  Session& s_;
  const Model& m_;
  const Options& options_;
};

namespace {

constexpr int64_t kHuge = int64_t{1} << 44;

}  // namespace

Result<MemoryUse> Session::Measure(Model::Pointer model, const Options& options) {
  std::unique_ptr<Session> session(new Session);
  session->model_ = std::move(model);
  session->exec_.isa = options.isa;
  if (options.threads > 1) {
    session->pool_.Start(std::min(options.threads, ThreadPool::kMaxThreads));
    session->exec_.pool = &session->pool_;
  }
  Status status = Planner(session.get(), options).Plan();
  if (!status.ok()) return status;
  return session->memory_;
}

Result<std::unique_ptr<Session>> Session::Open(Model::Pointer model, const Options& options) {
  std::unique_ptr<Session> session(new Session);
  session->model_ = std::move(model);
  session->exec_.isa = options.isa;
  if (options.threads > 1) {
    session->pool_.Start(std::min(options.threads, ThreadPool::kMaxThreads));
    session->exec_.pool = &session->pool_;
  }
  Status status = Planner(session.get(), options).Plan();
  if (!status.ok()) return status;
  const MemoryUse& use = session->memory_;
  if (use.total() > kHuge)
    return Error(Code::kOutOfMemory, "the session needs more memory than there is");
  if (options.max_memory > 0 && use.resident() > options.max_memory) {
    return Error(Code::kOutOfMemory,
                 "the session needs %lld bytes (weights %lld, state %lld, activations %lld), "
                 "%lld are allowed",
                 static_cast<long long>(use.resident()), static_cast<long long>(use.weights),
                 static_cast<long long>(use.state),
                 static_cast<long long>(use.activations + use.scratch),
                 static_cast<long long>(options.max_memory));
  }
  if (options.memory) {
    if (options.memory_bytes < use.total() ||
        reinterpret_cast<uintptr_t>(options.memory) % kAlign) {
      return Error(
          Code::kInvalidArgument, "the session needs %lld bytes, 64-byte aligned; %lld are given",
          static_cast<long long>(use.total()), static_cast<long long>(options.memory_bytes));
    }
    session->base_ = static_cast<uint8_t*>(options.memory);
  } else {
    const size_t bytes = static_cast<size_t>(std::max<int64_t>(use.total(), kAlign));
    void* memory = nullptr;
    if (::posix_memalign(&memory, kAlign, bytes) != 0) {
      return Error(Code::kOutOfMemory, "%lld bytes for state and activations are not to be had",
                   static_cast<long long>(use.total()));
    }
    session->base_ = session->owned_ = static_cast<uint8_t*>(memory);
  }
  session->arena_ = session->base_ + use.state;
  session->scratch_ = session->arena_ + use.activations;
  PlaceSlots(session->base_, &session->slots_);
  for (auto& function : session->functions_) {
    function->valid = false;
    for (Call& call : function->calls) call.scratch = session->scratch_;
  }
  return session;
}

Session::~Session() { std::free(owned_); }

}  // namespace smelt
