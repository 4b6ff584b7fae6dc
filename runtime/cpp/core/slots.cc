#include "core/slots.h"

#include <algorithm>
#include <cstring>

#include "core/checked.h"
#include "core/op.h"

namespace smelt {
namespace {

DType CacheType(Elem elem) {
  switch (elem) {
    case Elem::kF16:
      return DType::kF16;
    case Elem::kBf16:
      return DType::kBf16;
    case Elem::kI8:
      return DType::kI8;
    default:
      return DType::kF32;
  }
}

Status PlanSlot(SlotState* slot, const int64_t* dim_values, int64_t context, int64_t chunk) {
  const SlotRecord& record = *slot->record;
  int64_t count = 1;
  for (uint32_t axis = 0; axis < record.rank; ++axis) {
    int64_t size;
    if (slot->append() && axis == record.axis) {
      slot->most = context;
      size =
          slot->ring() ? std::min<int64_t>(context, int64_t{record.window} - 1 + chunk) : context;
    } else {
      size = dim_values[record.dims[axis]];
    }
    if (size < 0 || !CheckedMul(count, std::max<int64_t>(size, 1), &count) ||
        count > kMaxBytes / 8) {
      return Error(Code::kOutOfMemory, "state `%s` is too large", slot->name);
    }
    slot->limits[axis] = size;
  }
  if (!slot->append()) {
    slot->bytes = AlignUp(count * ElemBytes(slot->elem()));
    return Status();
  }
  const int64_t* d = slot->limits;
  const DType type = CacheType(slot->elem());
  slot->cache = {type, nullptr, nullptr, d[0], d[1], d[2], d[3], slot->ring()};
  slot->bytes = static_cast<int64_t>(KvDataBytes(type, d[0], d[1], d[2], d[3])) +
                AlignUp(static_cast<int64_t>(KvScaleBytes(type, d[0], d[1], d[2])));
  return Status();
}

}  // namespace

SlotState& Call::Slot(int i) const { return slots[words[i]]; }

int64_t SlotState::row_bytes() const {
  int64_t bytes = ElemBytes(elem());
  for (int axis = 1; axis < record->rank; ++axis) bytes *= limits[axis];
  return bytes;
}

int64_t SlotState::readable() const {
  return ring() ? std::min<int64_t>(length(), record->window) : length();
}

Status PlanSlots(const Model& model, const int64_t* dim_values, int64_t context, int64_t chunk,
                 std::vector<SlotState>* slots, int64_t* bytes) {
  slots->resize(model.slots.count);
  *bytes = 0;
  for (uint32_t i = 0; i < model.slots.count; ++i) {
    SlotState& slot = (*slots)[i];
    slot.record = &model.slots[i];
    slot.name = model.Text(slot.record->name);
    SMELT_TRY(PlanSlot(&slot, dim_values, context, chunk));
    if (!CheckedAdd(*bytes, slot.bytes, bytes) || *bytes > kMaxBytes) {
      return Error(Code::kOutOfMemory, "the state is too large");
    }
  }
  return Status();
}

void PlaceSlots(uint8_t* base, std::vector<SlotState>* slots) {
  for (SlotState& slot : *slots) {
    slot.data = base;
    if (slot.append()) {
      const KvCache& c = slot.cache;
      slot.cache.data = base;
      if (c.dtype == DType::kI8) {
        slot.cache.scales = reinterpret_cast<float*>(
            base + KvDataBytes(c.dtype, c.batch, c.heads, c.capacity, c.dim));
      }
    }
    base += slot.bytes;
  }
}

Status ResolveState(SlotState* slot, View* view) {
  const SlotRecord& record = *slot->record;
  view->data = slot->data;
  if (slot->window && !slot->append()) {  // its rows are adjacent: RunRows has made sure
    bool fits = view->dims[0] == slot->window->count;
    for (int axis = 1; axis < view->rank; ++axis) fits &= view->dims[axis] == slot->limits[axis];
    if (!fits)
      return Error(Code::kInvalidArgument, "state `%s` has rows of other sizes", slot->name);
    view->data += slot->window->at.rows[0] * slot->row_bytes();
    return Status();
  }
  if (!slot->append()) {
    int64_t bytes = ElemBytes(slot->elem());
    for (int axis = 0; axis < view->rank; ++axis) {
      if (!CheckedMul(bytes, view->dims[axis], &bytes) || bytes > slot->bytes) {
        return Error(Code::kInvalidArgument, "state `%s` needs more than its %lld bytes",
                     slot->name, static_cast<long long>(slot->bytes));
      }
      if (slot->held && slot->dims[axis] != view->dims[axis]) {
        return Error(Code::kInvalidArgument,
                     "state `%s` holds %lld on axis %d, the call wants %lld", slot->name,
                     static_cast<long long>(slot->dims[axis]), axis,
                     static_cast<long long>(view->dims[axis]));
      }
    }
    return Status();
  }
  for (uint32_t axis = 0; axis < record.rank; ++axis) {
    const int64_t size = view->dims[axis];
    const bool grows = axis == record.axis;
    const bool fits = grows ? size <= slot->most && size >= slot->present()
                      : axis == 0
                          ? size <= slot->limits[0] && (!slot->held || size == slot->dims[0])
                          : size == slot->limits[axis];
    if (!fits) {
      return Error(Code::kInvalidArgument, "state `%s` does not have size %lld on axis %u",
                   slot->name, static_cast<long long>(size), axis);
    }
  }
  int64_t stride = 1;
  for (int axis = view->rank - 1; axis >= 0; --axis) {
    view->strides[axis] = stride;
    stride *= slot->limits[axis];
  }
  // Attention goes by the rows' numbers; what reads a cache as a tensor has adjacent rows.
  if (slot->window) view->data += slot->window->at.rows[0] * slot->row_bytes();
  return Status();
}

bool Keeps(const SlotState& slot, int64_t held, int64_t length) {
  if (length == held) return true;
  if (!slot.append()) return length == 0;
  const int64_t kept = slot.limits[slot.record->axis];
  const int64_t needed = length - (int64_t{slot.record->window} - 1);
  return !slot.ring() || held <= kept || needed >= held - kept;
}

Status CheckRewind(const SlotState& slot, int64_t length) {
  if (!slot.append()) return Status();
  const int64_t now = slot.length();
  if (length < 0 || length > now) {
    return Error(Code::kInvalidArgument, "cannot rewind to %lld tokens, there are %lld",
                 static_cast<long long>(length), static_cast<long long>(now));
  }
  if (!Keeps(slot, now, length)) {
    return Error(Code::kState, "cannot rewind to %lld tokens: the window of `%s` has moved on",
                 static_cast<long long>(length), slot.name);
  }
  return Status();
}

Status ReadSlot(const Exec& exec, const SlotState& slot, void* out, int64_t out_bytes) {
  const int64_t* d = slot.dims;
  int64_t count = 1;
  for (uint32_t axis = 0; axis < slot.record->rank; ++axis) {
    count *= slot.append() && axis == slot.record->axis ? slot.readable() : d[axis];
  }
  if (!slot.held) count = 0;
  const int64_t bytes = count * (slot.append() ? 4 : ElemBytes(slot.elem()));
  if (bytes != out_bytes) {
    return Error(Code::kInvalidArgument, "state `%s` has %lld bytes, the buffer %lld", slot.name,
                 static_cast<long long>(bytes), static_cast<long long>(out_bytes));
  }
  if (bytes == 0) return Status();
  if (!slot.append()) {
    std::memcpy(out, slot.data, static_cast<size_t>(bytes));
    return Status();
  }
  const int64_t entries = slot.readable();
  KvCache cache = slot.cache;
  cache.batch = d[0];  // rows past the batch hold nothing
  const Heads dst{static_cast<float*>(out), d[1] * entries * d[3], entries * d[3], d[3]};
  KvLoad(exec, cache, slot.length() - entries, entries, dst);
  return Status();
}

namespace {

// Rows of `width` bytes that lie `stride` apart, gathered in place a column piece at a time.
void GatherRows(uint8_t* data, int64_t stride, int64_t width, const int64_t* rows, int64_t count,
                uint8_t* scratch, int64_t scratch_bytes) {
  const int64_t piece = scratch_bytes / count;
  for (int64_t at = 0; at < width; at += piece) {
    const size_t bytes = static_cast<size_t>(std::min(piece, width - at));
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(scratch + i * piece, data + rows[i] * stride + at, bytes);
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(data + i * stride + at, scratch + i * piece, bytes);
  }
}

}  // namespace

Status ReorderSlot(SlotState* slot, const int64_t* rows, int64_t count, uint8_t* scratch,
                   int64_t scratch_bytes) {
  if (!slot->held) return Status();
  const int64_t* d = slot->dims;
  if (count < 1 || scratch_bytes < count || count > slot->limits[0]) {
    return Error(Code::kInvalidArgument, "%lld rows do not fit state `%s`, which has room for %lld",
                 static_cast<long long>(count), slot->name,
                 static_cast<long long>(slot->limits[0]));
  }
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] < 0 || rows[i] >= d[0]) {
      return Error(Code::kOutOfRange, "row %lld is outside the batch of %lld",
                   static_cast<long long>(rows[i]), static_cast<long long>(d[0]));
    }
  }
  if (slot->append()) {
    const KvCache& c = slot->cache;
    const int64_t width = c.heads * c.capacity;
    const int64_t bytes = width * c.dim * ElemBytes(slot->elem());
    GatherRows(slot->data, bytes, bytes, rows, count, scratch, scratch_bytes);
    if (c.scales) {
      GatherRows(reinterpret_cast<uint8_t*>(c.scales), width * 4, width * 4, rows, count, scratch,
                 scratch_bytes);
    }
  } else {
    int64_t bytes = ElemBytes(slot->elem());
    for (int axis = 1; axis < slot->record->rank; ++axis) bytes *= d[axis];
    if (count > d[0] && bytes * count > slot->bytes) {
      return Error(Code::kInvalidArgument, "%lld rows do not fit state `%s`",
                   static_cast<long long>(count), slot->name);
    }
    GatherRows(slot->data, bytes, bytes, rows, count, scratch, scratch_bytes);
  }
  slot->dims[0] = count;
  return Status();
}

void CopySlotRow(SlotState* slot, int64_t from, int64_t to, int64_t length) {
  const int64_t bytes = slot->row_bytes();
  uint8_t *source = slot->data + from * bytes, *target = slot->data + to * bytes;
  if (!slot->append()) {
    std::memcpy(target, source, static_cast<size_t>(bytes));
    return;
  }
  const KvCache& c = slot->cache;
  const int64_t entry = c.dim * ElemBytes(slot->elem()), entries = std::min(length, c.capacity);
  for (int64_t head = 0; head < c.heads; ++head) {
    const int64_t at = head * c.capacity;
    std::memcpy(target + at * entry, source + at * entry, static_cast<size_t>(entries * entry));
    if (!c.scales) continue;
    const int64_t width = c.heads * c.capacity;
    std::memcpy(c.scales + to * width + at, c.scales + from * width + at,
                static_cast<size_t>(entries) * sizeof(float));
  }
}

}  // namespace smelt
