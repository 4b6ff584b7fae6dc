#include "generation/watermark.h"

#include <algorithm>

namespace smelt::generation {
namespace {

constexpr uint32_t kTable = 1000003;

// MT19937, seeded by one word as numpy and torch do.
class Twister {
 public:
  explicit Twister(uint32_t seed) {
    for (uint32_t i = 0; i < kSize; ++i) {
      state_[i] = seed;
      seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
  }
  uint32_t Next() {
    if (at_ == kSize) Refill();
    uint32_t y = state_[at_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }

 private:
  static constexpr uint32_t kSize = 624, kShift = 397;
  void Refill() {
    for (uint32_t i = 0; i < kSize; ++i) {
      const uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kSize] & 0x7fffffffu);
      state_[i] = state_[(i + kShift) % kSize] ^ (y >> 1) ^ ((y & 1) ? 0x9908b0dfu : 0);
    }
    at_ = 0;
  }
  uint32_t state_[kSize];
  uint32_t at_ = kSize;
};

// A seed of up to 128 bits modulo 2^64 - 1.
uint64_t Reduce(unsigned __int128 seed) {
  constexpr unsigned __int128 kModulus = ~uint64_t{0};
  return static_cast<uint64_t>(seed % kModulus);
}

}  // namespace

void Watermark::Open(const Settings& settings, int64_t vocabulary) {
  key_ = static_cast<uint64_t>(settings.watermark_key);
  width_ = static_cast<size_t>(settings.watermark_width);
  is_self_ = settings.watermark_self != 0;
  bias_ = static_cast<float>(settings.watermark_bias);
  vocabulary_ = static_cast<uint32_t>(vocabulary);
  size_ = static_cast<uint32_t>(static_cast<double>(vocabulary) * settings.watermark_ratio);
  order_.resize(vocabulary_);
  green_.resize(std::max(size_, kTried));
  if (is_self_) Shuffle(Reduce(key_), kTable, kTable, &table_);
}

// The first `wanted` of a random order of 0 … count - 1.
void Watermark::Shuffle(uint64_t seed, uint32_t count, uint32_t wanted,
                        std::vector<uint32_t>* order) const {
  order->resize(count);
  for (uint32_t i = 0; i < count; ++i) (*order)[i] = i;
  Twister random(static_cast<uint32_t>(seed));
  for (uint32_t i = 0; i < wanted; ++i) {
    std::swap((*order)[i], (*order)[i + random.Next() % (count - i)]);
  }
}

// The least hash of the last tokens with the candidate, in 64 bits that wrap.
uint64_t Watermark::SelfHash(const int64_t* tokens, size_t count, int64_t token) const {
  const auto hash = [this](int64_t id) {
    return uint64_t{table_[static_cast<size_t>(id % kTable)]} + 1;
  };
  const uint64_t own = hash(token);
  int64_t least = static_cast<int64_t>(key_ * own * own);
  for (size_t i = count + 1 - width_; i < count; ++i) {
    least = std::min(least, static_cast<int64_t>(key_ * hash(tokens[i]) * own));
  }
  // Python's remainder of a negative number is that of the number plus the modulus.
  return least >= 0 ? Reduce(static_cast<uint64_t>(least)) : static_cast<uint64_t>(least) - 1;
}

uint32_t Watermark::Find(const int64_t* tokens, size_t count, const uint32_t* likeliest,
                         uint32_t tried) const {
  if (count < width_ || count == 0) return 0;
  uint32_t found = 0;
  if (!is_self_) {
    const uint64_t last = static_cast<uint64_t>(tokens[count - 1]);
    Shuffle(Reduce(static_cast<unsigned __int128>(key_) * last), vocabulary_, size_, &order_);
    for (; found < size_; ++found) green_[found] = order_[found];
  } else {
    for (uint32_t i = 0; i < tried; ++i) {
      Shuffle(SelfHash(tokens, count, likeliest[i]), vocabulary_, size_, &order_);
      const auto end = order_.begin() + size_;
      if (std::find(order_.begin(), end, likeliest[i]) != end) green_[found++] = likeliest[i];
    }
  }
  std::sort(green_.begin(), green_.begin() + found);
  return found;
}

}  // namespace smelt::generation
