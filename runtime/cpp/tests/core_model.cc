#include "tests/core_model.h"

#include <atomic>
#include <cstdio>
#include <new>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
// GCC ships the sanitizer without its allocator_interface.h.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*,
                                                                           size_t),
                                                         void (*freed)(const volatile void*));
#endif

#include "tests/testing.h"

namespace {

std::atomic<size_t> g_allocations{0};

}  // namespace

#if defined(__SANITIZE_ADDRESS__)
// The sanitizer has its own malloc, and hooks for it.
static void CountAllocations() {
  static const int installed = __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, size_t) { ++g_allocations; }, [](const volatile void*) {});
  (void)installed;
}
#else
static void CountAllocations() {}
void* operator new(size_t size) {
  ++g_allocations;
  void* memory = std::malloc(size ? size : 1);
  if (!memory) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace smelt::testing {

Bytes Bytes::Read(const char* name) {
  const std::string path = std::string(SeedFolder()) + "/" + name;
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) std::abort();
  std::fseek(file, 0, SEEK_END);
  Bytes bytes(static_cast<size_t>(std::ftell(file)));
  std::rewind(file);
  if (std::fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) std::abort();
  std::fclose(file);
  return bytes;
}

Model::Pointer OpenSeed(const char* name) {
  const std::string path = std::string(SeedFolder()) + "/" + name;
  Result<Model::Pointer> model = Model::Open(path.c_str());
  EXPECT_OK(model.status());
  return model.ok() ? *model : nullptr;
}

Fed Feed(Session* session, const std::vector<int64_t>& ids, int64_t rows) {
  Fed fed;
  const int64_t count = static_cast<int64_t>(ids.size()) / rows, past = session->past();
  fed.ids = ids;
  fed.mask.assign(static_cast<size_t>(rows * (past + count)), 1);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < count; ++i) fed.positions.push_back(past + i);
  }
  const Model& model = session->model();
  const FunctionRecord& f = model.functions[0];
  std::vector<InputArray> inputs(f.inputs);
  for (uint32_t i = 0; i < f.inputs; ++i) {
    const std::string name = model.Text(model.ports[f.first_input + i].name);
    const bool is_mask = name == "attention_mask";
    const auto& from = is_mask ? fed.mask : name == "input_ids" ? fed.ids : fed.positions;
    inputs[i] = {from.data(), Elem::kI64, 2, {rows, is_mask ? past + count : count}};
  }
  CountAllocations();
  const size_t before = g_allocations;
  fed.status = session->Run(0, inputs.data(), f.inputs);
  fed.allocations = g_allocations - before;
  if (!fed.status.ok()) return fed;
  const View& logits = session->Output(0, 0);
  const int64_t width = logits.last();
  for (int64_t r = 0; r < rows; ++r) {
    const float* last = logits.f32() + ((r + 1) * logits.dims[1] - 1) * width;
    fed.logits.insert(fed.logits.end(), last, last + width);
  }
  return fed;
}

}  // namespace smelt::testing
