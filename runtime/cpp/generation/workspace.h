// Memory for choosing one token of a vocabulary; rows that choose one after the other share it.
// Pages are only touched by the options that need them.
#pragma once

#include <cstdint>
#include <memory>

namespace smelt::generation {

struct Workspace {
  explicit Workspace(int64_t vocabulary)
      : weights(new double[static_cast<size_t>(vocabulary)]),
        keys(new double[static_cast<size_t>(vocabulary)]),
        ids(new uint32_t[static_cast<size_t>(vocabulary)]),
        order(new uint32_t[static_cast<size_t>(vocabulary)]) {}

  std::unique_ptr<double[]> weights, keys;
  std::unique_ptr<uint32_t[]> ids, order;
};

}  // namespace smelt::generation
