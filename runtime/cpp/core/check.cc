#include "core/check.h"

#include <cstring>

#include "core/checked.h"
#include "core/model.h"
#include "core/op.h"

namespace smelt {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 40;  // bound of a symbol
constexpr uint32_t kMaxSymbols = 63;  // one bit each, and one for what moves with every call
constexpr uint32_t kMaxFunctions = 64;

Status Bad(const char* what, uint32_t index) {
  return Error(Code::kBadFile, "%s %u is damaged", what, index);
}

bool InRange(uint32_t first, uint32_t count, uint32_t total) {
  return first <= total && count <= total - first;
}

}  // namespace

class Checker {
 public:
  explicit Checker(Model* model) : m_(*model) {}

  Status Run() {
    SMELT_TRY(Segments());
    SMELT_TRY(Names());
    SMELT_TRY(Dims());
    SMELT_TRY(Slots());
    SMELT_TRY(Weights());
    SMELT_TRY(Files());
    SMELT_TRY(FunctionRanges());
    for (uint32_t i = 0; i < m_.functions.count; ++i) {
      Status status = Function(m_.functions[i]);
      if (!status.ok()) return std::move(status).In("function `%s`", m_.Text(m_.functions[i].name));
    }
    return Status();
  }

 private:
  const SegmentRecord& At(Segment s) const { return m_.segments_[static_cast<uint32_t>(s)]; }

  template <typename T>
  Status Place(Segment s, Table<T>* table) {
    const SegmentRecord& segment = At(s);
    if (segment.bytes % sizeof(T) || segment.bytes / sizeof(T) >= kNone) {
      return Bad("segment", static_cast<uint32_t>(s));
    }
    table->data = reinterpret_cast<const T*>(m_.bytes_ + segment.offset);
    table->count = static_cast<uint32_t>(segment.bytes / sizeof(T));
    return Status();
  }

  // Back to back, 64-byte aligned, zero bytes between, nothing after the last.
  Status Segments() {
    uint64_t end = sizeof(FileHeader) + kSegments * sizeof(SegmentRecord);
    for (uint32_t i = 0; i < kSegments; ++i) {
      const SegmentRecord& segment = m_.segments_[i];
      const uint64_t start = static_cast<uint64_t>(AlignUp(static_cast<int64_t>(end)));
      if (segment.kind != i || segment.zero || segment.offset != start || start > m_.size_ ||
          segment.bytes > m_.size_ - start) {
        return Bad("segment", i);
      }
      for (uint64_t p = end; p < start; ++p) {
        if (m_.bytes_[p]) return Error(Code::kBadFile, "bytes before segment %u are not zero", i);
      }
      end = start + segment.bytes;
    }
    if (end != m_.size_) return Error(Code::kBadFile, "there are bytes after the last segment");
    const SegmentRecord& strings = At(Segment::kStrings);
    m_.strings_ = reinterpret_cast<const char*>(m_.bytes_ + strings.offset);
    m_.weight_data_ = m_.bytes_ + At(Segment::kWeightData).offset;
    m_.file_data_ = m_.bytes_ + At(Segment::kFileData).offset;
    SMELT_TRY(Place(Segment::kFeatures, &m_.features));
    SMELT_TRY(Place(Segment::kSettings, &m_.settings));
    SMELT_TRY(Place(Segment::kSymbols, &m_.symbols));
    SMELT_TRY(Place(Segment::kDims, &m_.dims));
    SMELT_TRY(Place(Segment::kSlots, &m_.slots));
    SMELT_TRY(Place(Segment::kBuffers, &m_.buffers));
    SMELT_TRY(Place(Segment::kBelow, &m_.below));
    SMELT_TRY(Place(Segment::kTensors, &m_.tensors));
    SMELT_TRY(Place(Segment::kOperands, &m_.operands));
    SMELT_TRY(Place(Segment::kAttributes, &m_.attributes));
    SMELT_TRY(Place(Segment::kInstructions, &m_.instructions));
    SMELT_TRY(Place(Segment::kPorts, &m_.ports));
    SMELT_TRY(Place(Segment::kBinds, &m_.binds));
    SMELT_TRY(Place(Segment::kFunctions, &m_.functions));
    SMELT_TRY(Place(Segment::kWeights, &m_.weights));
    return Place(Segment::kFiles, &m_.files);
  }

  bool IsText(StringRef ref) const {
    const SegmentRecord& strings = At(Segment::kStrings);
    if (ref.offset >= strings.bytes || ref.bytes >= strings.bytes - ref.offset) return false;
    return m_.strings_[uint64_t{ref.offset} + ref.bytes] == 0;
  }

  Status Names() {
    for (uint32_t i = 0; i < m_.features.count; ++i) {
      if (!IsText(m_.features[i].name)) return Bad("feature", i);
      const char* name = m_.Text(m_.features[i].name);
      if (!HasFeature(name)) {
        return Error(
            Code::kUnsupported,
            "the file needs the feature `%.64s`, which this runtime lacks: open it with the "
            "version that made it, or compile the model again",
            name);
      }
    }
    for (uint32_t i = 0; i < m_.settings.count; ++i) {
      if (!IsText(m_.settings[i].key)) return Bad("setting", i);
    }
    if (m_.symbols.count > kMaxSymbols) {
      return Error(Code::kUnsupported, "the file has %u symbols, at most %u are possible",
                   m_.symbols.count, kMaxSymbols);
    }
    for (uint32_t i = 0; i < m_.symbols.count; ++i) {
      const SymbolRecord& symbol = m_.symbols[i];
      if (!IsText(symbol.name) || symbol.low < 0 || symbol.high < symbol.low ||
          symbol.high > kMaxSize) {
        return Bad("symbol", i);
      }
    }
    return Status();
  }

  Status Dims() {
    m_.dim_symbols.resize(m_.dims.count);
    for (uint32_t i = 0; i < m_.dims.count; ++i) {
      const DimRecord& d = m_.dims[i];
      if (d.zero) return Bad("dim", i);
      if (d.op == static_cast<uint32_t>(DimOp::kConst)) {
        if (d.b) return Bad("dim", i);
        continue;
      }
      if (d.op == static_cast<uint32_t>(DimOp::kSymbol)) {
        if (d.a < 0 || d.a >= m_.symbols.count || d.b) return Bad("dim", i);
        m_.dim_symbols[i] = uint64_t{1} << d.a;
        continue;
      }
      if (d.op > static_cast<uint32_t>(DimOp::kFloorDiv) || d.a < 0 || d.a >= i || d.b < 0 ||
          d.b >= i) {
        return Bad("dim", i);
      }
      m_.dim_symbols[i] = m_.dim_symbols[d.a] | m_.dim_symbols[d.b];
    }
    return Status();
  }

  bool IsDim(uint32_t node) const { return node < m_.dims.count; }

  Status Slots() {
    for (uint32_t i = 0; i < m_.slots.count; ++i) {
      const SlotRecord& slot = m_.slots[i];
      const bool append = slot.kind == static_cast<uint8_t>(SlotKind::kAppend);
      bool good = IsText(slot.name) && slot.kind <= static_cast<uint8_t>(SlotKind::kReplace) &&
                  slot.layout <= static_cast<uint8_t>(SlotLayout::kRing) &&
                  slot.elem < static_cast<uint8_t>(Elem::kOpaque) && slot.rank <= kMaxRank &&
                  slot.zero == 0;
      if (append) {
        const Elem elem = static_cast<Elem>(slot.elem);
        good =
            good && slot.rank == 4 && slot.axis == 2 && slot.dims[2] == kNone &&
            (elem == Elem::kF32 || elem == Elem::kF16 || elem == Elem::kBf16 || elem == Elem::kI8);
      } else {
        good = good && slot.layout == static_cast<uint8_t>(SlotLayout::kFull);
      }
      if (slot.layout == static_cast<uint8_t>(SlotLayout::kRing)) good = good && slot.window > 0;
      for (uint32_t axis = 0; good && axis < slot.rank; ++axis) {
        good = IsDim(slot.dims[axis]) || (append && axis == slot.axis);
      }
      if (!good) return Bad("slot", i);
    }
    return Status();
  }

  Status Weights() {
    const uint64_t total = At(Segment::kWeightData).bytes;
    uint64_t end = 0;
    for (uint32_t i = 0; i < m_.weights.count; ++i) {
      const WeightRecord& w = m_.weights[i];
      const uint64_t start = static_cast<uint64_t>(AlignUp(static_cast<int64_t>(end)));
      if (!IsText(w.name) || w.zero || w.offset != start || start > total ||
          w.bytes > total - start) {
        return Bad("weight", i);
      }
      end = start + w.bytes;
      int64_t bytes = 0;
      if (!(w.format == kDense ? DenseBytes(w, &bytes) : PackedBytes(w, &bytes)) ||
          static_cast<uint64_t>(bytes) != w.bytes) {
        return Error(Code::kBadFile, "weight `%s` has %llu bytes, its shape needs %lld",
                     m_.Text(w.name), static_cast<unsigned long long>(w.bytes),
                     static_cast<long long>(bytes));
      }
    }
    return end == total ? Status() : Error(Code::kBadFile, "there are bytes after the last weight");
  }

  static bool DenseBytes(const WeightRecord& w, int64_t* bytes) {
    if (w.elem >= static_cast<uint8_t>(Elem::kOpaque) || w.rank > kMaxRank || w.group ||
        w.symmetric)
      return false;
    *bytes = ElemBytes(static_cast<Elem>(w.elem));
    for (int axis = 0; axis < w.rank; ++axis) {
      if (w.dims[axis] < 0 || !CheckedMul(*bytes, w.dims[axis], bytes) || *bytes > kMaxBytes)
        return false;
    }
    return true;
  }

  static bool PackedBytes(const WeightRecord& w, int64_t* bytes) {
    constexpr int64_t kLimit = (int64_t{1} << 31) - 1;
    if (w.format > static_cast<uint8_t>(Format::kInt4) || (w.rank != 2 && w.rank != 3) ||
        w.elem != static_cast<uint8_t>(Elem::kOpaque) || w.symmetric > 1) {
      return false;
    }
    const int64_t rows = w.dims[w.rank - 2], cols = w.dims[w.rank - 1];
    const int64_t experts = w.rank == 3 ? w.dims[0] : 1;
    if (rows < 1 || cols < 1 || experts < 1 || rows > kLimit || cols > kLimit || experts > 65536)
      return false;
    const bool grouped = w.format >= static_cast<uint8_t>(Format::kInt8);
    if (grouped ? (w.group < 16 || w.group > 1024 || w.group % 16) : w.group != 0) return false;
    if (!CheckedMul(LayoutOf(ShapeOf(w)).bytes, experts, bytes)) return false;
    return *bytes <= kMaxBytes;
  }

  Status Files() {
    const uint64_t total = At(Segment::kFileData).bytes;
    uint64_t end = 0;
    for (uint32_t i = 0; i < m_.files.count; ++i) {
      const FileRecord& f = m_.files[i];
      if (f.name[sizeof f.name - 1] || f.zero || f.offset != end || f.bytes > total - end)
        return Bad("file", i);
      end += f.bytes;
    }
    return end == total ? Status() : Error(Code::kBadFile, "there are bytes after the last file");
  }

  // The functions' ranges cut each table into consecutive pieces: nothing is shared, nothing left
  // over.
  Status FunctionRanges() {
    if (m_.functions.count > kMaxFunctions) {
      return Error(Code::kUnsupported, "the file has %u functions, at most %u are possible",
                   m_.functions.count, kMaxFunctions);
    }
    uint32_t buffers = 0, tensors = 0, instructions = 0, ports = 0, binds = 0;
    auto take = [](uint32_t* next, uint32_t first, uint32_t count, uint32_t total) {
      if (first != *next || !InRange(first, count, total)) return false;
      *next += count;
      return true;
    };
    for (uint32_t i = 0; i < m_.functions.count; ++i) {
      const FunctionRecord& f = m_.functions[i];
      if (!IsText(f.name) || !take(&buffers, f.first_buffer, f.buffers, m_.buffers.count) ||
          !take(&tensors, f.first_tensor, f.tensors, m_.tensors.count) ||
          !take(&instructions, f.first_instruction, f.instructions, m_.instructions.count) ||
          !take(&ports, f.first_input, f.inputs, m_.ports.count) ||
          !take(&ports, f.first_output, f.outputs, m_.ports.count) ||
          !take(&binds, f.first_bind, f.binds, m_.binds.count)) {
        return Bad("function", i);
      }
    }
    const bool whole = buffers == m_.buffers.count && tensors == m_.tensors.count &&
                       instructions == m_.instructions.count && ports == m_.ports.count &&
                       binds == m_.binds.count;
    return whole ? Status() : Error(Code::kBadFile, "there are records that belong to no function");
  }

  Status Function(const FunctionRecord& f) {
    for (uint32_t i = 0; i < f.buffers; ++i) SMELT_TRY(Buffer(f, i));
    for (uint32_t i = 0; i < f.tensors; ++i) SMELT_TRY(Tensor(f, f.first_tensor + i));
    for (uint32_t i = 0; i < f.inputs + f.outputs; ++i) SMELT_TRY(Port(f, i));
    for (uint32_t i = 0; i < f.instructions; ++i)
      SMELT_TRY(Instruction(f, f.first_instruction + i));
    return Binds(f);
  }

  Status Buffer(const FunctionRecord& f, uint32_t i) {
    const BufferRecord& b = m_.buffers[f.first_buffer + i];
    if (!IsDim(b.bytes) || b.zero || b.first_below != below_ ||
        !InRange(b.first_below, b.below_count, m_.below.count)) {
      return Bad("buffer", i);
    }
    below_ += b.below_count;
    for (uint32_t k = 0; k < b.below_count; ++k) {
      if (m_.below[b.first_below + k] >= i) return Bad("buffer", i);
    }
    return Status();
  }

  Status Tensor(const FunctionRecord& f, uint32_t id) {
    const TensorRecord& t = m_.tensors[id];
    bool good = IsText(t.name) && t.elem <= static_cast<uint8_t>(Elem::kOpaque) &&
                t.rank <= kMaxRank && t.storage <= static_cast<uint8_t>(Storage::kInput) &&
                t.strided <= 1 && t.zero == 0 &&
                (t.offset == kNone || (IsDim(t.offset) && t.strided));
    for (int axis = 0; good && axis < t.rank; ++axis) {
      good = IsDim(t.dims[axis]) && (!t.strided || IsDim(t.strides[axis]));
    }
    if (!good) return Bad("tensor", id);
    const bool opaque = t.elem == static_cast<uint8_t>(Elem::kOpaque);
    switch (static_cast<Storage>(t.storage)) {
      case Storage::kArena:
        good = !opaque && t.index < f.buffers;
        break;
      case Storage::kInput:
        good = !opaque && t.index < f.inputs;
        break;
      case Storage::kWeight:
        good = t.index < m_.weights.count && t.elem == m_.weights[t.index].elem &&
               !(opaque && t.strided);
        break;
      case Storage::kState:
        good = t.index < m_.slots.count && t.elem == StateElem(m_.slots[t.index]) && !t.strided &&
               t.rank == m_.slots[t.index].rank;
        break;
    }
    return good ? Status() : Bad("tensor", id);
  }

  // Only plain f32 cache regions can be read element by element.
  static uint8_t StateElem(const SlotRecord& slot) {
    const bool plain = slot.layout == static_cast<uint8_t>(SlotLayout::kFull) &&
                       (slot.kind == static_cast<uint8_t>(SlotKind::kReplace) ||
                        slot.elem == static_cast<uint8_t>(Elem::kF32));
    return plain ? slot.elem : static_cast<uint8_t>(Elem::kOpaque);
  }

  Status Port(const FunctionRecord& f, uint32_t i) {
    const PortRecord& port = m_.ports[f.first_input + i];
    if (!IsText(port.name) || port.zero || port.tensor - f.first_tensor >= f.tensors)
      return Bad("port", i);
    const TensorRecord& t = m_.tensors[port.tensor];
    const bool input = i < f.inputs;
    if (input &&
        (t.storage != static_cast<uint8_t>(Storage::kInput) || t.index != i || t.strided)) {
      return Bad("port", i);
    }
    // What an output points at must stay as it is until the next call.
    if (!input && t.storage != static_cast<uint8_t>(Storage::kArena) &&
        t.storage != static_cast<uint8_t>(Storage::kWeight)) {
      return Bad("port", i);
    }
    if (!input && t.elem == static_cast<uint8_t>(Elem::kOpaque)) return Bad("port", i);
    return Status();
  }

  Status Instruction(const FunctionRecord& f, uint32_t id) {
    const InstructionRecord& record = m_.instructions[id];
    const uint32_t place = id - f.first_instruction;
    if (!IsText(record.source)) return Bad("instruction", place);
    const OpSpec* spec = FindOp(record.opcode);
    if (!spec) {
      return Error(Code::kUnsupported, "instruction %u has opcode %u, which this runtime lacks",
                   place, record.opcode);
    }
    const uint32_t operands = uint32_t{record.inputs} + record.outputs;
    if (record.outputs != spec->outputs || record.inputs != std::strlen(spec->inputs) ||
        record.attributes != std::strlen(spec->words) ||
        !InRange(record.first_operand, operands, m_.operands.count) ||
        !InRange(record.first_attribute, record.attributes, m_.attributes.count)) {
      return Bad("instruction", place);
    }
    for (uint32_t i = 0; i < operands; ++i) {
      const uint32_t tensor = m_.operands[record.first_operand + i];
      const bool output = i < record.outputs;
      if (tensor == kNone) {
        if (output || spec->inputs[i - record.outputs] != '?') return Bad("instruction", place);
        continue;
      }
      if (tensor - f.first_tensor >= f.tensors) return Bad("instruction", place);
      if (output && m_.tensors[tensor].storage != static_cast<uint8_t>(Storage::kArena)) {
        return Bad("instruction", place);
      }
    }
    for (uint32_t i = 0; i < record.attributes; ++i) {
      const uint32_t word = m_.attributes[record.first_attribute + i];
      if (spec->words[i] == 'd' && !IsDim(word)) return Bad("instruction", place);
      if (spec->words[i] == 's' && word >= m_.slots.count) return Bad("instruction", place);
    }
    return Aliases(record, *spec, place);
  }

  // An output shares a buffer with an operand only where the op allows it and both are the same
  // view.
  Status Aliases(const InstructionRecord& record, const OpSpec& spec, uint32_t place) {
    const uint32_t* ids = m_.operands.data + record.first_operand;
    for (uint32_t o = 0; o < record.outputs; ++o) {
      const TensorRecord& out = m_.tensors[ids[o]];
      for (uint32_t i = o + 1; i < uint32_t{record.outputs} + record.inputs; ++i) {
        if (ids[i] == kNone) continue;
        const TensorRecord& other = m_.tensors[ids[i]];
        if (other.storage != out.storage || other.index != out.index) continue;
        const bool same = ids[i] == ids[o] && i >= record.outputs;
        if (!spec.in_place || !same) {
          return Error(Code::kBadFile, "instruction %u (%s) writes what it reads", place,
                       spec.name);
        }
      }
    }
    return Status();
  }

  // Every symbol that a function's sizes use must have a source.
  Status Binds(const FunctionRecord& f) {
    uint64_t bound = 0, used = 0;
    for (uint32_t i = 0; i < f.binds; ++i) {
      const BindRecord& b = m_.binds[f.first_bind + i];
      bool good = b.symbol < m_.symbols.count;
      if (good && b.source == static_cast<uint32_t>(BindSource::kInput)) {
        good = b.index < f.inputs &&
               b.axis < m_.tensors[m_.ports[f.first_input + b.index].tensor].rank;
      } else if (good && b.source == static_cast<uint32_t>(BindSource::kSlot)) {
        good = b.index < m_.slots.count && b.axis < m_.slots[b.index].rank;
      } else if (good && b.source == static_cast<uint32_t>(BindSource::kTokens)) {
        good = b.index == 0 && b.axis == 0;
      } else if (good && b.source == static_cast<uint32_t>(BindSource::kAsked)) {
        good = b.index < m_.symbols.count && (bound >> b.index & 1) && b.axis == 0;
      } else {
        good = false;
      }
      if (!good) return Bad("bind", i);
      bound |= uint64_t{1} << b.symbol;
    }
    auto use = [&](uint32_t node) { used |= node == kNone ? 0 : m_.dim_symbols[node]; };
    for (uint32_t i = 0; i < f.buffers; ++i) use(m_.buffers[f.first_buffer + i].bytes);
    for (uint32_t i = 0; i < f.tensors; ++i) {
      const TensorRecord& t = m_.tensors[f.first_tensor + i];
      use(t.offset);
      for (int axis = 0; axis < t.rank; ++axis) {
        use(t.dims[axis]);
        if (t.strided) use(t.strides[axis]);
      }
    }
    for (uint32_t i = 0; i < f.instructions; ++i) {
      const InstructionRecord& record = m_.instructions[f.first_instruction + i];
      const char* words = FindOp(record.opcode)->words;
      for (uint32_t w = 0; w < record.attributes; ++w) {
        if (words[w] == 'd') use(m_.attributes[record.first_attribute + w]);
      }
    }
    if (used & ~bound) return Error(Code::kBadFile, "a size uses a symbol that nothing binds");
    return Status();
  }

  Model& m_;
  uint32_t below_ = 0;  // entries taken so far: buffers own consecutive pieces
};

PackedShape ShapeOf(const WeightRecord& w) {
  PackedShape shape;
  shape.format = static_cast<Format>(w.format);
  shape.symmetric = w.symmetric != 0;
  shape.group = static_cast<int32_t>(w.group);
  shape.rows = w.dims[w.rank - 2];
  shape.cols = w.dims[w.rank - 1];
  return shape;
}

Status CheckModel(Model* model) { return Checker(model).Run(); }

}  // namespace smelt
