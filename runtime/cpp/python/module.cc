// The Python module `smelt.runtime._edge`: models and sessions over numpy arrays, errors as
// exceptions.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/saved_state.h"
#include "core/session.h"
#include "limits.h"
#include "python/batch.h"
#include "python/chat.h"
#include "python/model.h"
#include "python/sampler.h"
#include "python/text.h"

namespace nb = nanobind;
using namespace nb::literals;

// numpy's float16; C++17 has no such number, and nothing here computes with it.
struct Half {
  uint16_t bits;
};

template <>
struct nanobind::detail::dtype_traits<Half> {
  static constexpr dlpack::dtype value{static_cast<uint8_t>(dlpack::dtype_code::Float), 16, 1};
  static constexpr auto name = const_name("float16");
};

namespace {

using smelt::Elem;
using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

using smelt::python::Model;
using smelt::python::Raise;
using smelt::python::Take;

bool ElemOf(nb::dlpack::dtype type, Elem* elem) {
  const struct {
    nb::dlpack::dtype type;
    Elem elem;
  } known[] = {{nb::dtype<float>(), Elem::kF32},   {nb::dtype<int64_t>(), Elem::kI64},
               {nb::dtype<int32_t>(), Elem::kI32}, {nb::dtype<int8_t>(), Elem::kI8},
               {nb::dtype<uint8_t>(), Elem::kU8},  {nb::dtype<bool>(), Elem::kBool}};
  for (const auto& row : known) {
    if (row.type == type) {
      *elem = row.elem;
      return true;
    }
  }
  return false;
}

// A new numpy array of `count` elements with these dims, and its memory.
template <typename T>
nb::object NewArray(const int64_t* dims, int rank, void** data) {
  size_t shape[smelt::kMaxRank] = {}, count = 1;
  for (int i = 0; i < rank; ++i) count *= shape[i] = static_cast<size_t>(dims[i]);
  T* owned = new T[count ? count : 1]();
  *data = owned;
  nb::capsule owner(owned, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(owned, static_cast<size_t>(rank), shape, owner));
}

nb::object NewArray(Elem elem, const int64_t* dims, int rank, void** data) {
  switch (elem) {
    case Elem::kF32:
      return NewArray<float>(dims, rank, data);
    case Elem::kF16:
      return NewArray<Half>(dims, rank, data);
    case Elem::kI64:
      return NewArray<int64_t>(dims, rank, data);
    case Elem::kI32:
      return NewArray<int32_t>(dims, rank, data);
    case Elem::kI8:
      return NewArray<int8_t>(dims, rank, data);
    case Elem::kU8:
      return NewArray<uint8_t>(dims, rank, data);
    case Elem::kBool:
      return NewArray<bool>(dims, rank, data);
    default:
      throw nb::type_error("the array's element type has no numpy name");
  }
}

// Row-major copy of a view whose axes may lie in any order.
void CopyView(const smelt::View& view, uint8_t* out) {
  const int64_t size = smelt::ElemBytes(view.elem);
  if (view.contiguous) {
    std::memcpy(out, view.data, static_cast<size_t>(view.count * size));
    return;
  }
  int64_t at[smelt::kMaxRank] = {};
  for (int64_t i = 0; i < view.count; ++i) {
    int64_t offset = 0;
    for (int axis = 0; axis < view.rank; ++axis) offset += at[axis] * view.strides[axis];
    std::memcpy(out + i * size, view.data + offset * size, static_cast<size_t>(size));
    for (int axis = view.rank - 1; axis >= 0 && ++at[axis] == view.dims[axis]; --axis) at[axis] = 0;
  }
}

struct Session {
  std::unique_ptr<smelt::Session> session;

  static smelt::Options OptionsOf(int threads, int64_t context,
                                  const std::vector<std::pair<std::string, int64_t>>& limits,
                                  int64_t max_memory) {
    smelt::Options options;
    options.max_memory = max_memory;
    options.threads = threads;
    options.context = context;
    for (const auto& [symbol, most] : limits) options.limits.push_back({symbol.c_str(), most});
    return options;
  }

  static Session Open(const Model& model, int threads, int64_t context,
                      const std::vector<std::pair<std::string, int64_t>>& limits,
                      int64_t max_memory) {
    const smelt::Options options = OptionsOf(threads, context, limits, max_memory);
    return {Take(smelt::Session::Open(model.model, options))};
  }

  // A session whose state is rows of their own lengths, for one function.
  static Session OpenRows(const Model& model, const std::string& name, int threads, int64_t context,
                          const std::vector<std::pair<std::string, int64_t>>& limits) {
    smelt::Options options = OptionsOf(threads, context, limits, 0);
    options.rows = true;
    Session found{Take(smelt::Session::Open(model.model, options))};
    Raise(found.session->OpenRows(found.FindFunction(name)));
    return found;
  }

  static nb::dict Measure(const Model& model, int threads, int64_t context,
                          const std::vector<std::pair<std::string, int64_t>>& limits) {
    const smelt::Options options = OptionsOf(threads, context, limits, 0);
    return BytesOf(Take(smelt::Session::Measure(model.model, options)));
  }

  using RowNumbers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

  nb::dict Call(const std::string& name, const nb::dict& given) {
    return RunWith(FindFunction(name), given,
                   [&](uint32_t index, const smelt::InputArray* inputs, uint32_t count) {
                     return session->Run(index, inputs, count);
                   });
  }

  nb::dict CallRows(const std::string& name, const nb::dict& given, const RowNumbers& rows) {
    return RunWith(
        FindFunction(name), given, [&](uint32_t, const smelt::InputArray* inputs, uint32_t count) {
          return session->RunRows(inputs, count, rows.data(), static_cast<int64_t>(rows.shape(0)));
        });
  }

  uint32_t FindFunction(const std::string& name) const {
    const uint32_t index = session->model().FindFunction(name.c_str());
    if (index == smelt::kNone) throw nb::key_error(name.c_str());
    return index;
  }

  template <typename RunInputs>
  nb::dict RunWith(uint32_t index, const nb::dict& given, const RunInputs& run) {
    const smelt::Model& model = session->model();
    const smelt::FunctionRecord& record = model.functions[index];
    std::vector<AnyArray> held;
    std::vector<smelt::InputArray> inputs(record.inputs);
    for (uint32_t i = 0; i < record.inputs; ++i) {
      const char* port = model.Text(model.ports[record.first_input + i].name);
      if (!given.contains(port)) throw nb::key_error(port);
      held.push_back(nb::cast<AnyArray>(given[port]));
      const AnyArray& array = held.back();
      smelt::InputArray& input = inputs[i];
      if (!ElemOf(array.dtype(), &input.elem) || array.ndim() > smelt::kMaxRank)
        throw nb::type_error(port);
      input.data = array.data();
      input.rank = static_cast<int>(array.ndim());
      for (int axis = 0; axis < input.rank; ++axis)
        input.dims[axis] = static_cast<int64_t>(array.shape(axis));
    }
    smelt::Status status;
    {
      nb::gil_scoped_release release;
      status = run(index, inputs.data(), record.inputs);
    }
    Raise(status);
    nb::dict outputs;
    for (uint32_t i = 0; i < record.outputs; ++i) {
      const smelt::View& view = session->Output(index, i);
      void* data = nullptr;
      nb::object array = NewArray(view.elem, view.dims, view.rank, &data);
      CopyView(view, static_cast<uint8_t*>(data));
      outputs[model.Text(model.ports[record.first_output + i].name)] = array;
    }
    return outputs;
  }

  nb::dict ReadState() const {
    nb::dict found;
    for (uint32_t i = 0; i < session->model().slots.count; ++i) {
      const smelt::SlotState& slot = session->slot(i);
      if (!slot.held) continue;
      int64_t dims[smelt::kMaxRank] = {};
      std::memcpy(dims, slot.dims, sizeof dims);
      if (slot.append()) dims[slot.record->axis] = slot.readable();
      int64_t count = 1;
      for (int axis = 0; axis < slot.record->rank; ++axis) count *= dims[axis];
      const Elem elem = slot.append() ? Elem::kF32 : slot.elem();
      void* data = nullptr;
      nb::object array = NewArray(elem, dims, slot.record->rank, &data);
      Raise(session->ReadState(i, data, count * smelt::ElemBytes(elem)));
      found[slot.name] = array;
    }
    return found;
  }

  void Reorder(const RowNumbers& rows) {
    Raise(session->Reorder(rows.data(), static_cast<int64_t>(rows.shape(0))));
  }

  nb::dict Memory() const { return BytesOf(session->memory()); }

  static nb::dict BytesOf(const smelt::MemoryUse& use) {
    nb::dict found;
    found["weights"] = use.weights;
    found["state"] = use.state;
    found["activations"] = use.activations + use.scratch;
    return found;
  }

  // The f32 results of every instruction of a call, in order.
  nb::list Trace(const std::string& name, const nb::dict& given) {
    struct Log {  // filled without the interpreter's lock
      const smelt::Session* session;
      std::vector<std::pair<std::vector<int64_t>, std::vector<float>>> found;
    } log{session.get(), {}};
    session->set_profiler(
        [](void* context, uint32_t function, uint32_t instruction, double) {
          Log& into = *static_cast<Log*>(context);
          const smelt::Model& model = into.session->model();
          const uint32_t index = model.functions[function].first_instruction + instruction;
          const smelt::Call& call = into.session->CallAt(function, instruction);
          for (int i = 0; i < model.instructions[index].outputs; ++i) {
            if (!call.out[i]) continue;
            const smelt::View& view = *call.out[i];
            if (view.elem != Elem::kF32 || view.packed || view.slot >= 0) continue;
            std::vector<float> values(static_cast<size_t>(view.count));
            CopyView(view, reinterpret_cast<uint8_t*>(values.data()));
            into.found.emplace_back(std::vector<int64_t>(view.dims, view.dims + view.rank),
                                    std::move(values));
          }
        },
        &log);
    try {
      Call(name, given);
    } catch (...) {
      session->set_profiler(nullptr, nullptr);
      throw;
    }
    session->set_profiler(nullptr, nullptr);
    nb::list arrays;
    for (const auto& [dims, values] : log.found) {
      void* data = nullptr;
      nb::object array = NewArray(Elem::kF32, dims.data(), static_cast<int>(dims.size()), &data);
      std::memcpy(data, values.data(), values.size() * sizeof(float));
      arrays.append(array);
    }
    return arrays;
  }

  // Every instruction of a call: its source, op, seconds, results and operands.
  nb::list Profile(const std::string& name, const nb::dict& given) {
    struct Log {
      const smelt::Session* session;
      std::vector<Step> steps;
    } log{session.get(), {}};
    session->set_profiler(
        [](void* context, uint32_t function, uint32_t instruction, double seconds) {
          Log& into = *static_cast<Log*>(context);
          into.steps.push_back(StepOf(*into.session, function, instruction, seconds));
        },
        &log);
    try {
      Call(name, given);
    } catch (...) {
      session->set_profiler(nullptr, nullptr);
      throw;
    }
    session->set_profiler(nullptr, nullptr);
    nb::list found;
    for (const Step& step : log.steps) {
      found.append(nb::make_tuple(step.source, step.op, step.seconds, Listed(step.results),
                                  Listed(step.operands)));
    }
    return found;
  }

 private:
  struct Operand {
    const char* elem;
    const char* storage;
    std::vector<int64_t> dims;
    int64_t bytes;
  };
  struct Step {
    const char* source;
    const char* op;
    double seconds;
    std::vector<Operand> results, operands;
  };

  static nb::list Listed(const std::vector<Operand>& operands) {
    nb::list found;
    for (const Operand& o : operands) {
      if (o.elem) {
        found.append(nb::make_tuple(o.elem, o.storage, o.dims, o.bytes));
      } else {
        found.append(nb::none());
      }
    }
    return found;
  }

  static Step StepOf(const smelt::Session& session, uint32_t function, uint32_t instruction,
                     double seconds) {
    const smelt::Model& model = session.model();
    const uint32_t index = model.functions[function].first_instruction + instruction;
    const smelt::InstructionRecord& record = model.instructions[index];
    const smelt::OpSpec* spec = smelt::FindOp(record.opcode);
    const smelt::Call& call = session.CallAt(function, instruction);
    Step step{model.Text(record.source), spec->name, seconds, {}, {}};
    const uint32_t* ids = model.operands.data + record.first_operand;
    for (int i = 0; i < record.outputs; ++i)
      step.results.push_back(OperandOf(session, call.out[i], ids[i]));
    for (int i = 0; i < record.inputs; ++i)
      step.operands.push_back(OperandOf(session, call.in[i], ids[record.outputs + i]));
    if (std::strcmp(spec->words, "s") == 0) {  // what is written to state is no operand
      Operand written = step.operands[0];
      int64_t count = 1;
      for (int64_t size : written.dims) count *= size;
      const smelt::SlotState& slot = call.Slot(0);
      written.elem = smelt::ElemName(slot.elem());
      written.storage = "state";
      written.bytes = StateBytes(slot, count, written.dims.back());
      step.results.push_back(written);
    }
    return step;
  }

  // int8 entries have one f32 scale for each row of a head.
  static int64_t StateBytes(const smelt::SlotState& slot, int64_t count, int64_t width) {
    const int64_t scales = slot.append() && slot.elem() == Elem::kI8 && width ? count / width : 0;
    return count * smelt::ElemBytes(slot.elem()) + 4 * scales;
  }

  static Operand OperandOf(const smelt::Session& session, const smelt::View* view,
                           uint32_t tensor) {
    if (view == nullptr) return {nullptr, "", {}, 0};
    static const char* const kStorages[] = {"arena", "weight", "state", "input"};
    Operand found{smelt::ElemName(view->elem),
                  kStorages[session.model().tensors[tensor].storage],
                  {view->dims, view->dims + view->rank},
                  0};
    if (view->packed) {
      static const char* const kNames[] = {"f32", "f16", "bf16", "int8", "int4"};
      found.elem = kNames[static_cast<int>(view->packed->shape.format)];
      found.bytes = view->packed_bytes * (view->rank == 3 ? view->dims[0] : 1);
      return found;
    }
    int64_t count = 1;
    for (int axis = 0; axis < view->rank; ++axis) {
      const bool repeats = !view->contiguous && view->slot < 0 && view->strides[axis] == 0;
      count *= repeats ? 1 : view->dims[axis];
    }
    found.bytes = count * smelt::ElemBytes(view->elem);
    if (view->slot >= 0) {
      const smelt::SlotState& slot = session.slot(static_cast<uint32_t>(view->slot));
      found.elem = smelt::ElemName(slot.elem());
      found.bytes = StateBytes(slot, count, view->last());
    }
    return found;
  }
};

}  // namespace

NB_MODULE(_edge, m) {
  m.doc() = "The edge runtime: opened models, their sessions, and tokenizers.";
  BindText(m);
  BindChat(m);
  BindSampler(m);
  m.def(
      "isa", [] { return smelt::IsaName(smelt::BestIsa()); },
      "The instruction set that kernels use.");
  m.def(
      "limits",
      [](int threads) {
        smelt::Limits found;
        {
          nb::gil_scoped_release release;
          found = smelt::MeasureLimits(threads);
        }
        nb::dict limits;
        limits["bytes"] = found.bytes;
        limits["int8"] = found.int8;
        limits["bf16"] = found.bf16;
        limits["floats"] = found.floats;
        return limits;
      },
      "threads"_a, "Bytes and operations a second that this machine can do at most.");
  nb::class_<Model>(m, "Model")
      .def_static("open", &Model::Open, "path"_a)
      .def("verify_checksums", &Model::VerifyChecksums, nb::call_guard<nb::gil_scoped_release>())
      .def("setting", &Model::Setting, "key"_a, "missing"_a);
  BindBatch(m, [](const nb::object& model) -> const smelt::Model::Pointer& {
    return nb::cast<Model&>(model).model;
  });
  nb::class_<Session>(m, "Session")
      .def_static("open", &Session::Open, "model"_a, "threads"_a, "context"_a, "limits"_a,
                  "max_memory"_a = 0)
      .def_static("measure", &Session::Measure, "model"_a, "threads"_a, "context"_a, "limits"_a)
      .def_static("open_rows", &Session::OpenRows, "model"_a, "function"_a, "threads"_a,
                  "context"_a, "limits"_a)
      .def("call", &Session::Call, "function"_a, "inputs"_a)
      .def_prop_ro("adjacent_rows", [](const Session& s) { return s.session->adjacent_rows(); })
      .def("call_rows", &Session::CallRows, "function"_a, "inputs"_a, "rows"_a)
      .def(
          "shorten_row",
          [](Session& s, int64_t row, int64_t length) {
            Raise(s.session->ShortenRow(row, length));
          },
          "row"_a, "length"_a)
      .def(
          "copy_row",
          [](Session& s, int64_t from, int64_t to, int64_t length) {
            Raise(s.session->CopyRow(from, to, length));
          },
          "from_row"_a, "to_row"_a, "length"_a)
      .def("profile", &Session::Profile, "function"_a, "inputs"_a)
      .def("trace", &Session::Trace, "function"_a, "inputs"_a)
      .def(
          "ask", [](Session& s, int64_t rows) { s.session->Ask(rows); }, "rows"_a)
      .def("read_state", &Session::ReadState)
      .def(
          "save",
          [](const Session& s, const std::string& path) {
            Raise(smelt::SavedState::Save(*s.session, {}, path.c_str()));
          },
          "path"_a)
      .def(
          "load",
          [](Session& s, const std::string& path) {
            std::vector<int64_t> held;
            Raise(smelt::SavedState::Load(s.session.get(), &held, path.c_str()));
          },
          "path"_a)
      .def("reset", [](Session& s) { s.session->Reset(); })
      .def(
          "rewind", [](Session& s, int64_t past) { Raise(s.session->Rewind(past)); }, "past"_a)
      .def("reorder", &Session::Reorder, "rows"_a)
      .def("memory", &Session::Memory)
      .def_prop_ro("past", [](const Session& s) { return s.session->past(); })
      .def_prop_ro("context", [](const Session& s) { return s.session->context(); });
}
