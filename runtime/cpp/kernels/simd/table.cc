// The instruction set's table of kernels.
#include "attention.h"
#include "gemm.h"
#include "kv.h"
#include "linear.h"
#include "rows.h"
#if SMELT_KERNEL_ISA == SMELT_AVX512
#include "amx.h"
#include "bf16.h"
#endif

namespace smelt {
namespace SMELT_ISA_NS {
namespace {

constexpr KernelTable Plain() {
  KernelTable t = {};
  t.tile_height = TileHeight;
  t.unpack_bytes = UnpackBytes;
  t.unpack = Unpack;
  t.enter = Enter;
  t.leave = Leave;
  t.pack_tile = PackTile;
  t.linear_float = LinearFloat;
  t.linear_int = LinearInt;
  t.quantize_row = QuantizeRow;
  t.attend_block = AttendBlock;
  t.attend_chunk = AttendChunk;
  t.merge_chunks = MergeChunks;
  t.kv_store = KvStoreRow;
  t.kv_load = KvLoadPlain;
  t.rope = RopeToken;
  t.rms_norm = RmsNormRows;
  t.layer_norm = LayerNormRows;
  t.linear_attention = LinearAttentionColumns;
  t.softmax = SoftmaxRows;
  t.activate = ActivateRange;
  t.gated = GatedRange;
  t.unary = UnaryRange;
  t.binary = BinaryRange;
  t.gemm_panel = GemmPanel;
  t.gemm_pack = GemmPack;
  return t;
}

#if SMELT_KERNEL_ISA == SMELT_AVX512
constexpr KernelTable WithBf16() {
  KernelTable t = Plain();
  t.pack_tile = Bf16PackTile;
  t.linear_float = Bf16LinearFloat;
  t.attend_block = Bf16AttendBlock;
  return t;
}
constexpr KernelTable WithAmx() {
  KernelTable t = Plain();
  t.attend_block = Bf16AttendBlock;
  t.tile_height = AmxHeight;
  t.unpack_bytes = AmxUnpackBytes;
  t.unpack = AmxUnpack;
  t.enter = AmxEnter;
  t.leave = AmxLeave;
  t.pack_tile = AmxPackTile;
  t.linear_float = AmxLinearFloat;
  t.linear_int = AmxLinearInt;
  return t;
}
#endif

}  // namespace

const KernelTable kTable = Plain();
#if SMELT_KERNEL_ISA == SMELT_AVX512
const KernelTable kBf16Table = WithBf16();
const KernelTable kAmxTable = WithAmx();
#endif

}  // namespace SMELT_ISA_NS
}  // namespace smelt
