#include "kv.h"

#include "linear.h"

namespace smelt {
namespace SMELT_ISA_NS {

void KvStoreRow(const KvCache& cache, int64_t b, int64_t head, const float* row, int64_t slot) {
  const int64_t dim = cache.dim, at = (b * cache.heads + head) * cache.capacity + slot;
  switch (cache.dtype) {
    case DType::kF32: {
      memcpy(static_cast<float*>(cache.data) + at * dim, row, static_cast<size_t>(dim) * 4);
      return;
    }
    case DType::kF16:
    case DType::kBf16: {
      uint16_t* y = static_cast<uint16_t*>(cache.data) + at * dim;
      const bool half = cache.dtype == DType::kF16;
      for (int64_t i = 0; i < dim; i += 16) {
        const Vf x = LoadN(row + i, dim - i);
        if (half)
          StorePart(y + i, x, dim - i, [](uint16_t* p, Vf v) { StoreF16(p, v); });
        else
          StorePart(y + i, ToBf16(x), dim - i, [](uint16_t* p, Vi v) { StoreU16(p, v); });
      }
      return;
    }
    case DType::kI8: {
      QuantizeRow(row, dim, static_cast<int32_t>(dim), static_cast<int8_t*>(cache.data) + at * dim,
                  cache.scales + at);
      return;
    }
  }
}

void KvLoadRow(const KvView& view, int64_t b, int64_t head, int64_t position, int64_t dim,
               float* row, bool pad) {
  const int64_t slot = SlotOf(view, position),
                at = b * view.batch + head * view.head + slot * view.token;
  const auto put = [&](int64_t i, Vf x) {
    if (pad)
      Store(row + i, x);
    else
      StoreN(row + i, x, dim - i);
  };
  switch (view.dtype) {
    case DType::kF32: {
      const float* x = static_cast<const float*>(view.data) + at;
      for (int64_t i = 0; i < dim; i += 16) put(i, LoadN(x + i, dim - i));
      return;
    }
    case DType::kF16: {
      const uint16_t* x = static_cast<const uint16_t*>(view.data) + at;
      for (int64_t i = 0; i < dim; i += 16)
        put(i, LoadPart(x + i, dim - i, [](const uint16_t* p) { return LoadF16(p); }));
      return;
    }
    case DType::kBf16: {
      const uint16_t* x = static_cast<const uint16_t*>(view.data) + at;
      for (int64_t i = 0; i < dim; i += 16)
        put(i, LoadPart(x + i, dim - i, [](const uint16_t* p) { return LoadBf16(p); }));
      return;
    }
    case DType::kI8: {
      const int8_t* x = static_cast<const int8_t*>(view.data) + at;
      const Vf scale = Set1(view.scales[b * view.scale_batch + head * view.scale_head + slot]);
      for (int64_t i = 0; i < dim; i += 16) {
        put(i, scale * LoadPart(x + i, dim - i, [](const int8_t* p) { return LoadI8(p); }));
      }
      return;
    }
  }
}

void KvLoadPlain(const KvView& view, int64_t b, int64_t head, int64_t position, int64_t dim,
                 float* row) {
  KvLoadRow(view, b, head, position, dim, row, false);
}

}  // namespace SMELT_ISA_NS
}  // namespace smelt
