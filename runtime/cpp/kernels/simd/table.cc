#include "attention.h"
#include "gemm.h"
#include "kv.h"
#include "linear.h"
#include "rows.h"

namespace smelt {
namespace SMELT_ISA_NS {

const KernelTable kTable = {
    PackTile,      LinearFloat,   LinearInt,   QuantizeRow, AttendBlock,   AttendChunk, MergeChunks,
    KvStoreRow,    KvLoadPlain,   RopeToken,   RmsNormRows, LayerNormRows, SoftmaxRows, ActivateRange,
    GatedRange,    UnaryRange,    BinaryRange, GemmPanel,   GemmPack,
};

}  // namespace SMELT_ISA_NS
}  // namespace smelt
