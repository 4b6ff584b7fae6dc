// Green lists: which tokens a watermark favours; those of runtime/watermark.py.
#pragma once

#include <cstdint>
#include <vector>

#include "generation/settings.h"

namespace smelt::generation {

class Watermark {
 public:
  static constexpr uint32_t kTried = 40;  // the likeliest tokens that "selfhash" looks at

  // Takes all memory that the lists need.
  void Open(const Settings& settings, int64_t vocabulary);
  float bias() const { return bias_; }

  // Calls use(id) for each token to favour behind `tokens`, in rising order; `likeliest` are the
  // best tokens in falling order.
  template <typename Use>
  void ForGreen(const int64_t* tokens, size_t count, const uint32_t* likeliest, uint32_t tried,
                const Use& use) const {
    const uint32_t found = Find(tokens, count, likeliest, tried);
    for (uint32_t i = 0; i < found; ++i) use(green_[i]);
  }

 private:
  uint32_t Find(const int64_t* tokens, size_t count, const uint32_t* likeliest,
                uint32_t tried) const;
  void Shuffle(uint64_t seed, uint32_t count, uint32_t wanted, std::vector<uint32_t>* order) const;
  uint64_t SelfHash(const int64_t* tokens, size_t count, int64_t token) const;

  uint64_t key_ = 0;
  size_t width_ = 1;
  uint32_t vocabulary_ = 0, size_ = 0;
  bool is_self_ = false;
  float bias_ = 0;
  std::vector<uint32_t> table_;
  mutable std::vector<uint32_t> order_, green_;
};

}  // namespace smelt::generation
