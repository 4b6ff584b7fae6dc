// The structure of a file, checked once: see Model for what holds afterwards.
#pragma once

#include "core/format.h"
#include "core/status.h"
#include "kernels/kernels.h"

namespace smelt {

class Model;
Status CheckModel(Model* model);
// The shape of a packed weight (rank 2, or 3 with experts first).
PackedShape ShapeOf(const WeightRecord& weight);

}  // namespace smelt
