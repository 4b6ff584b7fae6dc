// The C API over Model and Session.
#include <cstdio>
#include <cstring>
#include <new>

#include "core/handles.h"
#include "core/saved_state.h"

namespace {

thread_local char last_error[512];

}  // namespace

namespace smelt {

smelt_code Fail(const Status& status) {
  std::snprintf(last_error, sizeof last_error, "%s", status.message());
  return static_cast<smelt_code>(status.code());
}

}  // namespace smelt

namespace {

using smelt::Done;
using smelt::Fail;

smelt_code NoMemory() { return Fail(smelt::Error(smelt::Code::kOutOfMemory, "out of memory")); }

smelt_code Refuse(const char* what) {
  return Fail(smelt::Error(smelt::Code::kInvalidArgument, "%s", what));
}

// What generation knows of the state holds for the first tokens only.
void Forget(smelt_session* session, size_t kept) {
  if (session->generator) session->generator->Forget(kept);
}

smelt_code Wrap(smelt::Result<smelt::Model::Pointer> result, smelt_model** out) {
  if (!result.ok()) return Fail(result.status());
  *out = new (std::nothrow) smelt_model{std::move(*result)};
  return *out ? SMELT_OK : NoMemory();
}

smelt::Status Convert(const smelt_options* options, smelt::Options* out) {
  if (!options) return smelt::Status();
  SMELT_TRY(smelt::CheckSize("smelt_options", options->struct_bytes, sizeof *options));
  out->threads = options->threads;
  out->context = options->context;
  for (size_t i = 0; i < options->limit_count; ++i) {
    out->limits.push_back({options->limits[i].symbol, options->limits[i].most});
  }
  out->memory = options->memory;
  out->memory_bytes = static_cast<int64_t>(options->memory_bytes);
  out->max_memory = options->max_memory;
  return smelt::Status();
}

smelt_memory Convert(const smelt::MemoryUse& use) {
  return {use.weights, use.state, use.activations, use.scratch};
}

// Port `index` of a function; null when there is none.
const smelt::PortRecord* FindPort(const smelt::Model& m, uint32_t function, uint32_t index,
                                  bool output) {
  if (function >= m.functions.count) return nullptr;
  const smelt::FunctionRecord& f = m.functions[function];
  if (index >= (output ? f.outputs : f.inputs)) return nullptr;
  return &m.ports[(output ? f.first_output : f.first_input) + index];
}

const char* PortName(const smelt_model* model, uint32_t function, uint32_t index, bool output) {
  const smelt::PortRecord* port = FindPort(*model->model, function, index, output);
  return port ? model->model->Text(port->name) : nullptr;
}

}  // namespace

extern "C" {

uint32_t smelt_abi(void) { return SMELT_ABI; }
const char* smelt_error(void) { return last_error; }

smelt_code smelt_model_open(const char* path, smelt_model** out) {
  return Wrap(smelt::Model::Open(path), out);
}

smelt_code smelt_model_borrow(const void* bytes, size_t size, smelt_model** out) {
  return Wrap(smelt::Model::Borrow(bytes, size), out);
}

void smelt_model_close(smelt_model* model) { delete model; }

smelt_code smelt_model_verify(const smelt_model* model) {
  return Done(model->model->VerifyChecksums());
}

smelt_code smelt_model_file(const smelt_model* model, const char* name, const void** data,
                            size_t* bytes) {
  const smelt::FileRecord* file = model->model->FindFile(name);
  if (!file) return Refuse("the model holds no file of that name");
  *data = model->model->FileData(*file);
  *bytes = file->bytes;
  return SMELT_OK;
}

int64_t smelt_model_setting(const smelt_model* model, const char* key, int64_t missing) {
  return model->model->Setting(key, missing);
}

uint32_t smelt_function_count(const smelt_model* model) { return model->model->functions.count; }

const char* smelt_function_name(const smelt_model* model, uint32_t function) {
  const smelt::Model& m = *model->model;
  return function < m.functions.count ? m.Text(m.functions[function].name) : nullptr;
}

const char* smelt_input_name(const smelt_model* model, uint32_t function, uint32_t input) {
  return PortName(model, function, input, false);
}

smelt_type smelt_input_type(const smelt_model* model, uint32_t function, uint32_t input) {
  const smelt::PortRecord* port = FindPort(*model->model, function, input, false);
  return port ? static_cast<smelt_type>(model->model->tensors[port->tensor].elem) : SMELT_F32;
}

const char* smelt_output_name(const smelt_model* model, uint32_t function, uint32_t output) {
  return PortName(model, function, output, true);
}

const char* smelt_state_name(const smelt_model* model, uint32_t slot) {
  const smelt::Model& m = *model->model;
  return slot < m.slots.count ? m.Text(m.slots[slot].name) : nullptr;
}

smelt_code smelt_memory_need(const smelt_model* model, const smelt_options* options,
                             smelt_memory* out) {
  smelt::Options converted;
  const smelt::Status fits = Convert(options, &converted);
  if (!fits.ok()) return Fail(fits);
  auto result = smelt::Session::Measure(model->model, converted);
  if (!result.ok()) return Fail(result.status());
  *out = Convert(*result);
  return SMELT_OK;
}

smelt_code smelt_session_open(const smelt_model* model, const smelt_options* options,
                              smelt_session** out) {
  smelt::Options converted;
  const smelt::Status fits = Convert(options, &converted);
  if (!fits.ok()) return Fail(fits);
  auto result = smelt::Session::Open(model->model, converted);
  if (!result.ok()) return Fail(result.status());
  auto* session = new (std::nothrow) smelt_session;
  if (!session) return NoMemory();
  session->session = std::move(*result);
  auto generator = smelt::generation::Generator::Make(session->session.get());
  if (generator.ok()) session->generator.emplace(std::move(*generator));
  *out = session;
  return SMELT_OK;
}

void smelt_session_close(smelt_session* session) { delete session; }

void smelt_session_memory(const smelt_session* session, smelt_memory* out) {
  *out = Convert(session->session->memory());
}

int64_t smelt_session_most(const smelt_session* session, const char* symbol) {
  const uint32_t index = session->session->model().FindSymbol(symbol);
  return index == smelt::kNone ? -1 : session->session->most(index);
}

smelt_code smelt_run(smelt_session* session, uint32_t function, const smelt_tensor* inputs,
                     size_t count) {
  constexpr size_t kMost = 64;
  if (count > kMost) return Refuse("a function has at most 64 inputs");
  smelt::InputArray converted[kMost];
  for (size_t i = 0; i < count; ++i) {
    const smelt_tensor& from = inputs[i];
    if (from.rank < 0 || from.rank > SMELT_MAX_RANK || from.type < SMELT_F32 ||
        from.type > SMELT_BOOL) {
      return Refuse("an input's rank or type is not possible");
    }
    converted[i] = {from.data, static_cast<smelt::Elem>(from.type), from.rank, {}};
    std::memcpy(converted[i].dims, from.dims, sizeof from.dims);
  }
  Forget(session, 0);
  return Done(session->session->Run(function, converted, static_cast<uint32_t>(count)));
}

smelt_code smelt_output(const smelt_session* session, uint32_t function, uint32_t output,
                        smelt_tensor* out) {
  if (!FindPort(session->session->model(), function, output, true))
    return Refuse("there is no such output");
  const smelt::View& view = session->session->Output(function, output);
  if (!view.contiguous || view.elem == smelt::Elem::kOpaque)
    return Refuse("the output is not in row-major order");
  *out = {view.data, static_cast<smelt_type>(view.elem), view.rank, {}};
  std::memcpy(out->dims, view.dims, sizeof out->dims);
  return SMELT_OK;
}

void smelt_ask(smelt_session* session, int64_t rows) { session->session->Ask(rows); }

void smelt_reset(smelt_session* session) {
  Forget(session, 0);
  session->session->Reset();
}

int64_t smelt_past(const smelt_session* session) { return session->session->past(); }
smelt_code smelt_rewind(smelt_session* session, int64_t past) {
  const smelt::Status status = session->session->Rewind(past);
  if (status.ok()) Forget(session, static_cast<size_t>(past));
  return Done(status);
}

smelt_code smelt_reorder(smelt_session* session, const int64_t* rows, size_t count) {
  Forget(session, 0);
  return Done(session->session->Reorder(rows, static_cast<int64_t>(count)));
}

smelt_code smelt_state_shape(const smelt_session* session, uint32_t slot, smelt_tensor* out) {
  if (slot >= session->session->model().slots.count) return Refuse("there is no such state slot");
  const smelt::SlotState& state = session->session->slot(slot);
  const smelt::SlotRecord& record = *state.record;
  *out = {
      nullptr, state.append() ? SMELT_F32 : static_cast<smelt_type>(record.elem), record.rank, {}};
  for (int axis = 0; state.held && axis < record.rank; ++axis) out->dims[axis] = state.dims[axis];
  if (state.append()) out->dims[record.axis] = state.readable();
  return SMELT_OK;
}

smelt_code smelt_state_read(const smelt_session* session, uint32_t slot, void* out, size_t bytes) {
  return Done(session->session->ReadState(slot, out, static_cast<int64_t>(bytes)));
}

smelt_code smelt_session_save(const smelt_session* session, const char* path) {
  const bool is_known =
      session->generator &&
      static_cast<int64_t>(session->generator->held().size()) == session->session->past();
  const std::vector<int64_t> none;
  return Done(smelt::SavedState::Save(*session->session,
                                      is_known ? session->generator->held() : none, path));
}

smelt_code smelt_session_load(smelt_session* session, const char* path) {
  std::vector<int64_t> held;
  const smelt::Status status = smelt::SavedState::Load(session->session.get(), &held, path);
  if (status.ok() && session->generator) session->generator->Hold(held);
  return Done(status);
}

void smelt_set_profile(smelt_session* session, smelt_profile profile, void* context) {
  session->profile = profile;
  session->profile_context = context;
  if (!profile) return session->session->set_profiler(nullptr, nullptr);
  session->session->set_profiler(
      [](void* self, uint32_t function, uint32_t instruction, double seconds) {
        auto* s = static_cast<smelt_session*>(self);
        const smelt::Model& m = s->session->model();
        const smelt::InstructionRecord& record =
            m.instructions[m.functions[function].first_instruction + instruction];
        s->profile(s->profile_context, smelt::FindOp(record.opcode)->name, m.Text(record.source),
                   seconds);
      },
      session);
}

}  // extern "C"
