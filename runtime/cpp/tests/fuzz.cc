// Opens and runs mutated model files: whatever a file says, the answer is an error or a result,
// never a crash. Run under sanitizers, which turn a stray access into one.
//
//   fuzz SEED COUNT [FIRST]    mutations FIRST .. FIRST + COUNT; each depends on its number alone
//
// A mutation changes a few fields of the tables and mends the header's checksum, so that it gets
// past it.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "core/checked.h"
#include "core/crc32.h"
#include "core/function.h"
#include "core/session.h"
#include "tests/fuzz_mutate.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

using namespace smelt;

constexpr int64_t kMemory = 4 << 20;    // of a session; more is only slower
constexpr int64_t kElements = 1 << 13;  // of a tensor: what is asked for may be slow, not wrong

uint64_t g_number = 0;
unsigned g_opened = 0, g_ran = 0, g_finished = 0;
volatile uint8_t g_read = 0;

void PrintNumber() {
  char text[64];
  const int size = std::snprintf(text, sizeof text, "in mutation %llu\n",
                                 static_cast<unsigned long long>(g_number));
  if (::write(2, text, static_cast<size_t>(size)) < 0) return;
}

void OnSignal(int) {
  PrintNumber();
  std::_Exit(3);
}

// Sizes of the symbols of a call: those that the limits below allow.
int64_t ValueOf(const char* symbol, int64_t past, int step) {
  if (!std::strcmp(symbol, "seq")) return step == 0 ? 3 : 1;
  return !std::strcmp(symbol, "past") ? past : 2;
}

bool IsLarge(const Model& model, const std::vector<int64_t>& dims) {
  for (const TensorRecord& t : model.tensors) {
    int64_t count = 1;
    for (int axis = 0; axis < t.rank; ++axis) {
      const int64_t size = dims[t.dims[axis]];
      if (size > kElements || (size > 0 && (count *= size) > kElements)) return true;
    }
  }
  return false;
}

// Calls a function with inputs of the sizes that it wants; each array ends where its memory does.
bool Call(Session* session, uint32_t index, int step, fuzz::Random* random) {
  const Model& model = session->model();
  const FunctionRecord& f = model.functions[index];
  std::vector<int64_t> values, dims(model.dims.count);
  for (const SymbolRecord& s : model.symbols)
    values.push_back(ValueOf(model.Text(s.name), session->past(), step));
  EvaluateDims(model, values.data(), dims.data());
  if (IsLarge(model, dims)) return false;
  std::vector<std::unique_ptr<uint8_t, decltype(&std::free)>> memory;
  std::vector<InputArray> inputs(f.inputs);
  for (uint32_t i = 0; i < f.inputs; ++i) {
    const TensorRecord& t = model.tensors[model.ports[f.first_input + i].tensor];
    inputs[i].elem = static_cast<Elem>(t.elem);
    inputs[i].rank = t.rank;
    int64_t bytes = ElemBytes(inputs[i].elem);
    for (int axis = 0; axis < t.rank; ++axis)
      bytes *= inputs[i].dims[axis] = std::max<int64_t>(dims[t.dims[axis]], 0);
    memory.emplace_back(
        static_cast<uint8_t*>(std::malloc(static_cast<size_t>(std::max<int64_t>(bytes, 1)))),
        &std::free);
    random->Fill(inputs[i].elem, memory.back().get(), bytes);
    inputs[i].data = memory.back().get();
  }
  if (!session->Run(index, inputs.data(), f.inputs).ok()) return false;
  for (uint32_t o = 0; o < f.outputs; ++o) {  // what a caller reads must be there
    const View& view = session->Output(index, o);
    int64_t last = 0;
    for (int axis = 0; axis < view.rank; ++axis) last += (view.dims[axis] - 1) * view.strides[axis];
    if (view.count)
      g_read = static_cast<uint8_t>(view.data[0] + view.data[last * ElemBytes(view.elem)]);
  }
  ++g_finished;
  return true;
}

void ReadStates(const Session& session) {
  for (uint32_t i = 0; i < session.model().slots.count; ++i) {
    const SlotState& slot = session.slot(i);
    if (!slot.held) continue;
    int64_t count = 1;
    for (uint32_t axis = 0; axis < slot.record->rank; ++axis) {
      count *= slot.append() && axis == slot.record->axis ? slot.readable() : slot.dims[axis];
    }
    std::vector<uint8_t> out(
        static_cast<size_t>(count * (slot.append() ? 4 : ElemBytes(slot.elem()))));
    if (!session.ReadState(i, out.data(), static_cast<int64_t>(out.size())).ok()) std::abort();
  }
}

void Try(const uint8_t* bytes, size_t size, fuzz::Random* random) {
  Result<Model::Pointer> model = Model::Borrow(bytes, size);
  if (!model.ok()) return;
  ++g_opened;
  if (random->Below(64) == 0) (void)(*model)->VerifyChecksums().ok();
  Options options;
  options.context = 8;
  options.limits = {{"batch", 2}, {"seq", 3}, {"source", 2}};
  Result<MemoryUse> need = Session::Measure(*model, options);
  if (!need.ok() || need->total() > kMemory) return;
  Result<std::unique_ptr<Session>> session = Session::Open(*model, options);
  if (!session.ok()) return;
  ++g_ran;
  for (int step = 0; step < 3; ++step) {
    for (uint32_t i = 0; i < (*model)->functions.count; ++i) Call(session->get(), i, step, random);
    if (step == 0) ReadStates(**session);
    if (step == 1) {
      const int64_t rows[2] = {1, static_cast<int64_t>(random->Below(3))};
      (void)(*session)->Reorder(rows, 2).ok();
      (void)(*session)->Rewind(static_cast<int64_t>(random->Below(4))).ok();
    }
  }
  ReadStates(**session);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: fuzz SEED COUNT [FIRST]\n"), 2;
  std::FILE* file = std::fopen(argv[1], "rb");
  if (!file) return std::perror(argv[1]), 2;
  std::vector<uint8_t> seed(1 << 20);
  seed.resize(std::fread(seed.data(), 1, seed.size(), file));
  std::fclose(file);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(PrintNumber);
#endif
  ::signal(SIGALRM, OnSignal);
  ::signal(SIGABRT, OnSignal);
  const uint64_t count = std::strtoull(argv[2], nullptr, 10);
  const uint64_t first = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
  for (g_number = first; g_number < first + count; ++g_number) {
    if (g_number % 256 == 0) ::alarm(120);  // a file that hangs the runtime is found too
    fuzz::Random random(g_number);
    std::vector<uint8_t> mutated = seed;
    if (g_number != first || argc > 3) fuzz::Mutate(&mutated, &random);
    const size_t size = mutated.size();
    void* memory = nullptr;  // exactly as long as the file
    if (::posix_memalign(&memory, kAlign, std::max<size_t>(size, 1)) != 0) return 2;
    std::memcpy(memory, mutated.data(), size);
    Try(static_cast<uint8_t*>(memory), size, &random);
    std::free(memory);
  }
  std::printf("%llu files: %u opened, %u run, %u calls finished\n",
              static_cast<unsigned long long>(count), g_opened, g_ran, g_finished);
  return 0;
}
