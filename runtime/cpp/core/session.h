// One running state of a model: its limits, its memory, its caches. Sessions share the mapped
// model.
//
// Open plans and takes all memory; afterwards nothing allocates, except for error messages. A
// session is used by one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "core/model.h"
#include "core/op.h"
#include "core/slots.h"
#include "threads.h"

namespace smelt {

struct Limit {
  const char* symbol;
  int64_t most;
};

struct Options {
  int threads = 1;
  int64_t context = 0;  // entries of growing state; 0: the file's setting "context"
  std::vector<Limit>
      limits;  // largest value of symbols; others: the file's "limit.NAME", or their bound
  void* memory = nullptr;  // 64-byte aligned, or null: the session allocates
  int64_t memory_bytes = 0;
  // Calls have one token of several rows, or several of one row: memory for both, not for more.
  bool rows = false;
  int64_t max_memory = 0;  // Open refuses to need more, weights included; 0: no limit
  Isa isa = BestIsa();
};

struct MemoryUse {
  int64_t weights = 0, state = 0, activations = 0, scratch = 0;
  int64_t total() const { return state + activations + scratch; }  // weights stay in the file
  int64_t resident() const { return weights + total(); }
};

struct InputArray {
  const void* data = nullptr;  // aligned to its element, row-major
  Elem elem = Elem::kF32;
  int rank = 0;
  int64_t dims[kMaxRank] = {};
};

// Called after each instruction when set: its function, index and seconds.
using Profiler = void (*)(void* context, uint32_t function, uint32_t instruction, double seconds);

class Session {
 public:
  static Result<std::unique_ptr<Session>> Open(Model::Pointer model, const Options& options);
  // What Open would take, without taking it.
  static Result<MemoryUse> Measure(Model::Pointer model, const Options& options);
  ~Session();

  const Model& model() const { return *model_; }
  const MemoryUse& memory() const { return memory_; }
  int64_t context() const { return context_; }
  // The largest value of a symbol in this session, by index.
  int64_t most(uint32_t symbol) const { return most_[symbol]; }
  int64_t chunk() const { return chunk_; }
  // The threads of calls, for work between two of them.
  ThreadPool* pool() { return &pool_; }

  // Inputs in the order of the function's ports. Outputs are valid until the next Run.
  Status Run(uint32_t function, const InputArray* inputs, uint32_t count);
  const View& Output(uint32_t function, uint32_t index) const;

  // Rows at the end that outputs with a choice give from now on; at most the limit of `last`.
  void Ask(int64_t rows) { asked_ = rows; }

  void Reset();
  // Tokens fed to functions that write state.
  int64_t past() const { return tokens_; }
  Status Rewind(int64_t past);
  Status Reorder(const int64_t* rows, int64_t count);

  // ---- rows of their own lengths ----
  // From here on the state is rows, each with a length of its own, and only `function` is called.
  // kUnsupported names the instruction whose result would depend on what other rows hold.
  Status OpenRows(uint32_t function);
  // Batch element b continues state row rows[b]; `past` is the longest one's length, and column j
  // of a mask tells of a row's entry j; masks are all ones. Rows are distinct, and adjacent where
  // adjacent_rows().
  Status RunRows(const InputArray* inputs, uint32_t count, const int64_t* rows, int64_t row_count);
  int64_t rows() const { return static_cast<int64_t>(row_lengths_.size()); }
  int64_t row_length(int64_t row) const { return row_lengths_[static_cast<size_t>(row)]; }
  bool adjacent_rows() const { return adjacent_rows_; }
  // Whether the row could go back to that length: a ring or a replaced state may have moved on.
  bool Keeps(int64_t row, int64_t length) const;
  // The row forgets its newest tokens.
  Status ShortenRow(int64_t row, int64_t length);
  // Row `to` becomes the first `length` tokens of row `from`.
  Status CopyRow(int64_t from, int64_t to, int64_t length);

  const SlotState& slot(uint32_t index) const { return slots_[index]; }
  // An instruction as it ran last.
  const Call& CallAt(uint32_t function, uint32_t instruction) const;
  Status ReadState(uint32_t slot, void* out, int64_t bytes) const;
  void set_profiler(Profiler profiler, void* context) {
    profiler_ = profiler, profile_context_ = context;
  }

 private:
  struct Function;
  friend class Planner;
  friend class SavedState;
  Session() = default;
  Status Bind(const FunctionRecord& record, const InputArray* inputs, int64_t* values) const;
  Status Resolve(Function* f, uint64_t changed);
  Status ResolveTensor(Function* f, uint32_t id);
  Status CheckCalls(Function* f, uint64_t changed);
  Status Invoke(Function* f, const InputArray* inputs);
  Status Execute(Function* f);
  void Commit(const Function& f);
  Status CheckCount(uint32_t function, uint32_t count) const;
  Status CheckRows(uint32_t function);

  Model::Pointer model_;
  ThreadPool pool_;
  Exec exec_;
  MemoryUse memory_;
  int64_t context_ = 0, chunk_ = 0, tokens_ = 0, asked_ = INT64_MAX;
  uint32_t past_ = kNone, seq_ = kNone;  // the symbols of these names
  std::vector<int64_t> most_;
  std::vector<PackedMatrix> packed_;
  std::vector<int64_t> packed_bytes_;
  std::vector<SlotState> slots_;
  std::vector<std::unique_ptr<Function>> functions_;
  uint8_t* base_ = nullptr;
  uint8_t* owned_ = nullptr;
  uint8_t* arena_ = nullptr;
  uint8_t* scratch_ = nullptr;
  bool broken_ = false;  // a call failed after it changed state
  uint32_t row_function_ = 0;
  bool adjacent_rows_ = false;
  RowWindow window_;
  std::vector<int64_t> row_lengths_;     // empty unless OpenRows; of a broken row: -1
  std::vector<int64_t> window_lengths_;  // of the running call's rows
  Profiler profiler_ = nullptr;
  void* profile_context_ = nullptr;
};

}  // namespace smelt
