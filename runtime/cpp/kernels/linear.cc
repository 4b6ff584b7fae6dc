// Linear and grouped linear: packs input tiles, then hands out (panels x tiles) tasks.
#include "isa.h"

namespace smelt {
namespace {

constexpr int64_t kTaskBytes = 64 << 10;  // weights of a decode task: microseconds of memory time
constexpr int64_t kInlineBytes =
    32 << 10;  // below this much weight, waking others costs more than it saves
constexpr int64_t kReuseBytes = 1 << 20;  // of inputs that stay in the second level cache
constexpr int64_t kPrefillPanels =
    8;  // weights of a prefill task stay in the first or second level cache

int64_t PanelBytes(const PackedMatrix& w) {
  static constexpr int64_t kBits[] = {32, 16, 16, 8, 4};
  return w.padded_cols * kPanel * kBits[static_cast<int>(w.shape.format)] / 8;
}

struct Rows {  // one tile's rows of x, y and residual
  const float* x[kAmxPair];
  float* y[kAmxPair];
  const float* residual[kAmxPair];
};

TileCall CallOf(const LinearArgs& a, int height, int count, const void* tile, Rows& rows) {
  return {&a.w,
          a.w2.codes != nullptr ? &a.w2 : nullptr,
          a.bias,
          a.bias2,
          a.act,
          a.input,
          height,
          count,
          tile,
          0,
          0,
          rows.y,
          a.residual != nullptr ? rows.residual : nullptr,
          nullptr,
          nullptr};
}

// Runs call_of(tile) over the panels [first, last) of every tile of [0, tiles). Where weights are
// prepared, a few panels are prepared once, into `room`, and then meet all tiles; elsewhere each
// tile meets all panels.
template <typename CallOfTile>
void Compute(const KernelTable& table, const LinearArgs& a, int height, int64_t first, int64_t last,
             int64_t tiles, uint8_t* room, const CallOfTile& call_of) {
  const auto run = IsInt(a.input) ? table.linear_int : table.linear_float;
  const int64_t bytes = table.unpack_bytes(a.w.shape, a.w.padded_cols, a.input, height);
  uint8_t* room2 = room + kUnpackPanels * bytes;
  const int64_t step = bytes > 0 ? kUnpackPanels : last - first;
  table.enter(a.w, a.input, height);
  for (int64_t panel = first; panel < last; panel += step) {
    const int64_t end = panel + step < last ? panel + step : last;
    for (int64_t i = panel; bytes > 0 && i < end; ++i) {
      table.unpack(a.w, a.input, i, room + (i - panel) * bytes);
      if (a.w2.codes != nullptr) table.unpack(a.w2, a.input, i, room2 + (i - panel) * bytes);
    }
    for (int64_t tile = 0; tile < tiles; ++tile) {
      call_of(tile, [&](TileCall call) {
        call.panel_first = panel;
        call.panel_last = end;
        call.weights = room;
        call.weights2 = room2;
        run(call);
      });
    }
  }
  table.leave(height);
}

int64_t RoomBytes(const KernelTable& table, const PackedShape& w, int64_t padded, Input input,
                  int height) {
  return 2 * kUnpackPanels * table.unpack_bytes(w, padded, input, height);  // and w2's
}

int64_t PanelsPerTask(const Exec& exec, const LinearArgs& a, int64_t panels, int64_t tiles) {
  const int64_t bytes = PanelBytes(a.w) * (a.w2.codes != nullptr ? 2 : 1);
  if (exec.threads() == 1) return tiles == 1 ? panels : kPrefillPanels;
  if (bytes * panels * tiles <= kInlineBytes) return panels;
  const int64_t fair = CeilDiv(panels, exec.threads() * (tiles == 1 ? 4 : 2));
  const int64_t most = tiles == 1 ? CeilDiv(kTaskBytes, bytes) : kPrefillPanels;
  return fair < most ? fair : most;
}

}  // namespace

size_t LinearScratchBytes(const Exec& exec, const PackedShape& w, Input input, int64_t rows) {
  const KernelTable& table = TableOf(exec.isa);
  const int64_t padded = LayoutOf(w).padded_cols;
  const int height = table.tile_height(w.format, input, rows);
  return static_cast<size_t>(TileBytes(w, padded, input, height) * CeilDiv(rows, height) +
                             exec.threads() * RoomBytes(table, w, padded, input, height));
}

void Linear(const Exec& exec, const LinearArgs& a, void* scratch) {
  if (a.rows == 0 || a.w.shape.rows == 0) return;
  const KernelTable& table = TableOf(exec.isa);
  const int height = table.tile_height(a.w.shape.format, a.input, a.rows);
  const int64_t tiles = CeilDiv(a.rows, height);
  const int64_t tile_bytes = TileBytes(a.w.shape, a.w.padded_cols, a.input, height);
  uint8_t* packed = static_cast<uint8_t*>(scratch);
  uint8_t* rooms = packed + tiles * tile_bytes;
  const int64_t room = RoomBytes(table, a.w.shape, a.w.padded_cols, a.input, height);
  const auto count_of = [&](int64_t tile) {
    const int64_t left = a.rows - tile * height;
    return static_cast<int>(left < height ? left : height);
  };
  ParallelFor(exec.pool, tiles, [&](int64_t tile, int) {
    const float* x[kAmxPair];
    for (int r = 0; r < count_of(tile); ++r) x[r] = a.x + (tile * height + r) * a.x_stride;
    table.pack_tile({&a.w, a.input, height, count_of(tile), x, packed + tile * tile_bytes});
  });
  const int64_t panels = CeilDiv(a.w.shape.rows, kPanel);
  const int64_t panel_step = PanelsPerTask(exec, a, panels, tiles),
                panel_tasks = CeilDiv(panels, panel_step);
  // A prefill task takes several tiles over the same panels: enough to reuse them from cache, few
  // enough to share out. Where a panel must first be prepared, as many tiles as the second level
  // cache holds of them share the work.
  const int64_t reuse =
      room > 0 ? (kReuseBytes / tile_bytes > 4 ? kReuseBytes / tile_bytes : 4) : 1;
  const int64_t spread = tiles <= 2 * exec.threads() ? 1 : CeilDiv(tiles, 2 * exec.threads());
  const int64_t tile_step = spread > reuse ? spread : reuse < tiles ? reuse : tiles;
  const int64_t tile_tasks = CeilDiv(tiles, tile_step);
  ParallelSlices(exec.pool, panel_tasks * tile_tasks, [&](int64_t task, int thread) {
    const int64_t panel = task / tile_tasks * panel_step, first = task % tile_tasks * tile_step;
    const int64_t panel_last = panel + panel_step < panels ? panel + panel_step : panels;
    const int64_t last = first + tile_step < tiles ? first + tile_step : tiles;
    const auto call_of = [&](int64_t i, const auto& run) {
      const int64_t tile = first + i;
      Rows rows;
      for (int r = 0; r < count_of(tile); ++r) {
        rows.y[r] = a.y + (tile * height + r) * a.y_stride;
        if (a.residual != nullptr)
          rows.residual[r] = a.residual + (tile * height + r) * a.residual_stride;
      }
      run(CallOf(a, height, count_of(tile), packed + tile * tile_bytes, rows));
    };
    Compute(table, a, height, panel, panel_last, last - first, rooms + thread * room, call_of);
  });
}

// ---- mixture of experts ----

namespace {

struct Segment {  // up to a tile's rows of one expert: order[first, first + count)
  int32_t expert, first, count;
};

struct GroupedScratch {
  int32_t* order;     // [rows] y rows sorted by expert
  int32_t* starts;    // [count + 1]
  Segment* segments;  // [at most rows]
  uint8_t* tiles;
};

GroupedScratch Carve(void* scratch, int64_t rows, int64_t count) {
  uint8_t* p = static_cast<uint8_t*>(scratch);
  GroupedScratch s;
  s.order = reinterpret_cast<int32_t*>(p);
  p += RoundUp(rows * 4, 64);
  s.starts = reinterpret_cast<int32_t*>(p);
  p += RoundUp((count + 1) * 4, 64);
  s.segments = reinterpret_cast<Segment*>(p);
  s.tiles = p + RoundUp(rows * static_cast<int64_t>(sizeof(Segment)), 64);
  return s;
}

// One token has a few rows of different experts, each best read as a single row.
int GroupedHeight(const KernelTable& table, Format format, Input input, int64_t rows,
                  int64_t count) {
  return rows <= count && rows < kTileRows ? 1
                                           : table.tile_height(format, input, rows == 1 ? 2 : rows);
}

// The tiles that `rows` rows can fill at most: every expert may leave one tile partly empty.
int64_t MostSegments(int64_t rows, int64_t count, int height) {
  const int64_t split = rows / height + (count < rows ? count : rows);
  return split < rows ? split : rows;
}

PackedMatrix ExpertOf(const PackedMatrix& w, int64_t bytes) {
  PackedMatrix e = w;
  e.codes += bytes;
  if (e.scales != nullptr)
    e.scales =
        reinterpret_cast<const uint16_t*>(reinterpret_cast<const uint8_t*>(e.scales) + bytes);
  if (e.zeros != nullptr) e.zeros += bytes;
  return e;
}

// Counting sort of the rows by expert; rows without an expert are left out. Returns the number of
// segments.
int64_t SortRows(const GroupedLinearArgs& g, int height, GroupedScratch& s) {
  const int64_t rows = g.linear.rows;
  for (int64_t e = 0; e <= g.count; ++e) s.starts[e] = 0;
  const auto valid = [&](int64_t i) { return g.experts[i] >= 0 && g.experts[i] < g.count; };
  for (int64_t i = 0; i < rows; ++i) {
    if (valid(i)) ++s.starts[g.experts[i] + 1];
  }
  for (int64_t e = 0; e < g.count; ++e) s.starts[e + 1] += s.starts[e];
  for (int64_t i = 0; i < rows; ++i) {
    if (valid(i)) s.order[s.starts[g.experts[i]]++] = static_cast<int32_t>(i);
  }
  int64_t segments = 0;
  int32_t first = 0;
  for (int32_t e = 0; e < g.count; ++e) {  // starts[e] is now the end of expert e
    while (first < s.starts[e]) {
      const int32_t left = s.starts[e] - first, count = left < height ? left : height;
      s.segments[segments++] = {e, first, count};
      first += count;
    }
  }
  return segments;
}

}  // namespace

size_t GroupedLinearScratchBytes(const Exec& exec, const PackedShape& w, Input input, int64_t rows,
                                 int64_t count) {
  const KernelTable& table = TableOf(exec.isa);
  const int64_t padded = LayoutOf(w).padded_cols;
  const int height = GroupedHeight(table, w.format, input, rows, count);
  const int64_t tiles = TileBytes(w, padded, input, height) * MostSegments(rows, count, height);
  return static_cast<size_t>(RoundUp(rows * 4, 64) + RoundUp((count + 1) * 4, 64) +
                             RoundUp(rows * static_cast<int64_t>(sizeof(Segment)), 64) + tiles +
                             exec.threads() * RoomBytes(table, w, padded, input, height));
}

void GroupedLinear(const Exec& exec, const GroupedLinearArgs& g, void* scratch) {
  const LinearArgs& a = g.linear;
  const KernelTable& table = TableOf(exec.isa);
  const int height = GroupedHeight(table, a.w.shape.format, a.input, a.rows, g.count);
  GroupedScratch s = Carve(scratch, a.rows, g.count);
  const int64_t segments = SortRows(g, height, s);
  const int64_t tile_bytes = TileBytes(a.w.shape, a.w.padded_cols, a.input, height);
  uint8_t* rooms = s.tiles + MostSegments(a.rows, g.count, height) * tile_bytes;
  const int64_t room = RoomBytes(table, a.w.shape, a.w.padded_cols, a.input, height);
  for (int64_t i = 0; i < a.rows; ++i) {
    if (g.experts[i] >= 0 && g.experts[i] < g.count) continue;
    for (int64_t o = 0; o < a.w.shape.rows; ++o) a.y[i * a.y_stride + o] = 0.0f;
  }
  ParallelFor(exec.pool, segments, [&](int64_t i, int) {
    const Segment& segment = s.segments[i];
    const float* x[kAmxPair];
    for (int r = 0; r < segment.count; ++r) {
      const int32_t row = s.order[segment.first + r];
      x[r] = a.x + (g.source != nullptr ? g.source[row] : row) * a.x_stride;
    }
    table.pack_tile({&a.w, a.input, height, segment.count, x, s.tiles + i * tile_bytes});
  });
  const int64_t panels = CeilDiv(a.w.shape.rows, kPanel);
  const int64_t panel_step = exec.threads() == 1 ? panels : kPrefillPanels,
                panel_tasks = CeilDiv(panels, panel_step);
  ParallelFor(exec.pool, segments * panel_tasks, [&](int64_t task, int thread) {
    const int64_t i = task / panel_tasks, panel = task % panel_tasks * panel_step;
    const Segment& segment = s.segments[i];
    LinearArgs expert = a;
    expert.w = ExpertOf(a.w, segment.expert * g.expert_bytes);
    if (a.w2.codes != nullptr) expert.w2 = ExpertOf(a.w2, segment.expert * g.expert_bytes);
    if (a.bias != nullptr) expert.bias += segment.expert * a.w.shape.rows;
    if (a.bias2 != nullptr) expert.bias2 += segment.expert * a.w.shape.rows;
    expert.residual = nullptr;
    const auto call_of = [&](int64_t, const auto& run) {
      Rows rows;
      for (int r = 0; r < segment.count; ++r)
        rows.y[r] = a.y + s.order[segment.first + r] * a.y_stride;
      run(CallOf(expert, height, segment.count, s.tiles + i * tile_bytes, rows));
    };
    const int64_t panel_last = panel + panel_step < panels ? panel + panel_step : panels;
    Compute(table, expert, height, panel, panel_last, 1, rooms + thread * room, call_of);
  });
}

}  // namespace smelt
