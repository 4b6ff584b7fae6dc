// State between calls: caches that grow and values that are replaced.
#pragma once

#include <vector>

#include "core/model.h"
#include "core/view.h"

namespace smelt {

// The rows of the state that a call works on, each with its own entries (Session::RunRows).
struct RowWindow {
  StateRows at;
  int64_t count = 0;
  int64_t longest = 0;  // of the lengths
};

struct SlotState {
  const SlotRecord* record = nullptr;
  const char* name = "";
  uint8_t* data = nullptr;
  int64_t bytes = 0;                  // of the region, scales included
  int64_t limits[kMaxRank] = {};      // largest dims; on the growing axis: physical entries
  int64_t most = 0;                   // append: logical entries that the session allows
  int64_t dims[kMaxRank] = {};        // now; on the growing axis: entries since the last reset
  int64_t next = -1;                  // append: entries after the running call; -1: not appended
  bool held = false;                  // something was written since the last reset
  const RowWindow* window = nullptr;  // while a call works on rows of their own lengths
  KvCache cache;                      // append only

  bool append() const { return record->kind == static_cast<uint8_t>(SlotKind::kAppend); }
  bool ring() const { return record->layout == static_cast<uint8_t>(SlotLayout::kRing); }
  Elem elem() const { return static_cast<Elem>(record->elem); }
  int64_t length() const { return append() && held ? dims[record->axis] : 0; }
  // Before a call: entries of its longest row.
  int64_t present() const { return window ? window->longest : length(); }
  int64_t row_bytes() const;  // of one row's data; of a growing slot without its scales
  // Entries that can be read back: the newest ones under a window.
  int64_t readable() const;
};

// Sizes every slot; dim_values are those of the largest sizes, `entries` the context length.
Status PlanSlots(const Model& model, const int64_t* dim_values, int64_t context, int64_t chunk,
                 std::vector<SlotState>* slots, int64_t* bytes);
void PlaceSlots(uint8_t* base, std::vector<SlotState>* slots);

// Fits a state tensor to what the slot holds; data and strides are set, dims checked.
Status ResolveState(SlotState* slot, View* view);
// Drops the newest entries; the caller has checked that replaced slots allow it.
Status CheckRewind(const SlotState& slot, int64_t length);
// Whether a row of `held` entries still has all that one of `length` of them sees.
bool Keeps(const SlotState& slot, int64_t held, int64_t length);
// Copies one slot, oldest entry first, as f32 (integers as they are); out holds all elements.
Status ReadSlot(const Exec& exec, const SlotState& slot, void* out, int64_t out_bytes);
// Row i becomes the old row rows[i]; scratch is any memory of at least `count` bytes.
Status ReorderSlot(SlotState* slot, const int64_t* rows, int64_t count, uint8_t* scratch,
                   int64_t scratch_bytes);
// The first `length` entries of a row, or a replaced row whole, into another one.
void CopySlotRow(SlotState* slot, int64_t from, int64_t to, int64_t length);

}  // namespace smelt
