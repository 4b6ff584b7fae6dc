#include "generation/sampling.h"

#include <algorithm>
#include <cmath>

namespace smelt::generation {
namespace {

constexpr uint32_t kEntropyHead = 100;  // top-h looks at so many, as its authors do
constexpr double kTiny = 1e-300;
constexpr uint32_t kEvery = 0xffffffffu;

// The sum in the order of numpy, so that edges that a sum decides fall alike.
double Sum(const double* values, size_t count) {
  if (count < 8) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += values[i];
    return sum;
  }
  if (count <= 128) {
    double sums[8];
    for (size_t j = 0; j < 8; ++j) sums[j] = values[j];
    size_t i = 8;
    for (; i < count - count % 8; i += 8) {
      for (size_t j = 0; j < 8; ++j) sums[j] += values[i + j];
    }
    double sum =
        ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < count; ++i) sum += values[i];
    return sum;
  }
  size_t half = count / 2;
  half -= half % 8;
  return Sum(values, half) + Sum(values + half, count - half);
}

// The `count`-th largest value: the smallest of a heap of the largest so far.
double NthLargest(const double* values, size_t size, size_t count, double* heap) {
  const auto rises = [](double a, double b) { return a > b; };
  std::copy(values, values + count, heap);
  std::make_heap(heap, heap + count, rises);
  for (size_t i = count; i < size; ++i) {
    if (values[i] <= heap[0]) continue;
    std::pop_heap(heap, heap + count, rises);
    heap[count - 1] = values[i];
    std::push_heap(heap, heap + count, rises);
  }
  return heap[0];
}

// Places by falling key, ties by rising place.
void SortPlaces(const double* keys, uint32_t* places, size_t count) {
  std::sort(places, places + count, [keys](uint32_t a, uint32_t b) {
    return keys[a] != keys[b] ? keys[a] > keys[b] : a < b;
  });
}

// Ids in rising order and their weights; each sampler keeps some.
class Candidates {
 public:
  Candidates(const float* logits, int64_t count, const Settings& settings, Workspace* work)
      : s_(settings),
        weights_(work->weights.get()),
        keys_(work->keys.get()),
        ids_(work->ids.get()),
        order_(work->order.get()) {
    const float temperature = static_cast<float>(s_.temperature);
    for (int64_t i = 0; i < count; ++i) {
      const float scaled = logits[i] / temperature;
      if (!(scaled > -INFINITY)) continue;
      ids_[size_] = static_cast<uint32_t>(i);
      weights_[size_++] = scaled;
    }
    if (!s_.has_top_h()) TopK();  // first, and cheap: exp of the rest only
    const double most = *std::max_element(weights_, weights_ + size_);
    for (uint32_t i = 0; i < size_; ++i) weights_[i] = std::exp(weights_[i] - most);
    if (s_.has_top_h()) {
      TopH();
      TopK();
    }
    if (s_.top_p < 1) TopP();
    if (s_.min_p > 0) KeepBest(weights_, s_.min_p * Most(weights_));
    if (s_.typical_p < 1) Typical();
    if (s_.epsilon_cutoff > 0 && s_.epsilon_cutoff < 1) {
      KeepBest(weights_, s_.epsilon_cutoff * Sum(weights_, size_));
    }
    if (s_.eta_cutoff > 0 && s_.eta_cutoff < 1) Eta();
  }

  // A watermark multiplies the weights of green tokens, by way of f32 logarithms.
  void Mark(const Watermark& mark, const int64_t* tokens, size_t count) {
    for (uint32_t i = 0; i < size_; ++i)
      keys_[i] = static_cast<double>(static_cast<float>(std::log(weights_[i])));
    const uint32_t tried = LargestPlaces(Watermark::kTried);
    for (uint32_t i = 0; i < tried; ++i) order_[i] = ids_[order_[i]];
    uint32_t place = 0;
    mark.ForGreen(tokens, count, order_, tried, [&](uint32_t id) {
      while (place < size_ && ids_[place] < id) ++place;
      if (place < size_ && ids_[place] == id) {
        keys_[place] = static_cast<double>(static_cast<float>(keys_[place]) + mark.bias());
      }
    });
    for (uint32_t i = 0; i < size_; ++i) weights_[i] = std::exp(keys_[i]);
  }

  int64_t Draw(double u) {
    double sum = 0;
    for (uint32_t i = 0; i < size_; ++i) keys_[i] = sum += weights_[i];
    const double* found = std::upper_bound(keys_, keys_ + size_, u * sum);
    return ids_[std::min<size_t>(static_cast<size_t>(found - keys_), size_ - 1)];
  }

 private:
  double Most(const double* keys) const { return *std::max_element(keys, keys + size_); }

  // Those above an edge, and at the edge those up to a place.
  void Keep(const double* keys, double edge, uint32_t last) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < size_; ++i) {
      if (!(keys[i] > edge || (keys[i] == edge && i <= last))) continue;
      ids_[kept] = ids_[i];
      weights_[kept++] = weights_[i];
    }
    size_ = kept;
  }
  void KeepBest(const double* keys, double edge) { Keep(keys, std::min(edge, Most(keys)), kEvery); }

  void TopK() {
    if (s_.top_k == 0 || s_.top_k >= size_) return;
    Keep(weights_, NthLargest(weights_, size_, static_cast<size_t>(s_.top_k), keys_), kEvery);
  }

  // Places of the largest keys_, in order_; at least `count` of them are sorted where there are.
  uint32_t LargestPlaces(uint32_t count) {
    if (count < size_) {
      double heap[Watermark::kTried > kEntropyHead ? Watermark::kTried : kEntropyHead];
      const double edge = NthLargest(keys_, size_, count, heap);
      uint32_t found = 0;
      for (uint32_t i = 0; i < size_; ++i) {
        if (keys_[i] >= edge) order_[found++] = i;
      }
      SortPlaces(keys_, order_, found);
      return count;
    }
    for (uint32_t i = 0; i < size_; ++i) order_[i] = i;
    SortPlaces(keys_, order_, size_);
    return size_;
  }

  void TopH() {
    std::copy(weights_, weights_ + size_, keys_);
    const uint32_t count = LargestPlaces(kEntropyHead);
    double shares[kEntropyHead] = {}, terms[kEntropyHead] = {};
    for (uint32_t i = 0; i < count; ++i) shares[i] = weights_[order_[i]];
    const double sum = Sum(shares, count);
    for (uint32_t i = 0; i < count; ++i) {
      const double share = shares[i] / sum;
      terms[i] = share > 0 ? -share * std::log(std::max(share, kTiny)) : 0;
    }
    const double goal = s_.top_h * Sum(terms, count);
    double running = terms[0];
    uint32_t kept = 1;
    while (kept < count && (running += terms[kept]) <= goal) ++kept;
    const uint32_t last = order_[kept - 1];
    Keep(weights_, weights_[last], last);
  }

  // Sorts no more of the largest than it needs: those above a rising share of the best.
  void TopP() {
    const double goal = s_.top_p * Sum(weights_, size_);
    uint32_t found = 0;
    for (double edge : {1e-2, 1e-4, 0.0}) {
      found = 0;
      double sum = 0;
      for (uint32_t i = 0; i < size_; ++i) {
        if (weights_[i] < edge) continue;
        order_[found++] = i;
        sum += weights_[i];
      }
      if (found && sum >= goal) break;
    }
    SortPlaces(weights_, order_, found);
    double before = 0;
    uint32_t count = 0;
    while (count < found && before < goal) before += weights_[order_[count++]];
    const uint32_t last = order_[std::max(count, 1u) - 1];
    Keep(weights_, weights_[last], last);
  }

  void Typical() {
    const double entropy = Entropy();  // keys_ are the shares
    for (uint32_t i = 0; i < size_; ++i) {
      order_[i] = i;
      keys_[i] = -std::fabs(-std::log(std::max(keys_[i], kTiny)) - entropy);
    }
    SortPlaces(keys_, order_, size_);
    const double sum = Sum(weights_, size_);
    double running = 0;
    uint32_t reached = 0;
    while (reached < size_ && (running += weights_[order_[reached]] / sum) < s_.typical_p)
      ++reached;
    Keep(keys_, keys_[order_[std::min(reached, size_ - 1)]], kEvery);
  }

  void Eta() {
    const double entropy = Entropy(), eta = s_.eta_cutoff;
    KeepBest(keys_, std::min(eta, std::sqrt(eta) * std::exp(-entropy)));
  }

  // Leaves the shares in keys_.
  double Entropy() {
    const double sum = Sum(weights_, size_);
    for (uint32_t i = 0; i < size_; ++i) {
      const double share = weights_[i] / sum;
      keys_[i] = share * -std::log(std::max(share, kTiny));
    }
    const double entropy = Sum(keys_, size_);
    for (uint32_t i = 0; i < size_; ++i) keys_[i] = weights_[i] / sum;
    return entropy;
  }

  const Settings& s_;
  double* weights_;
  double* keys_;
  uint32_t* ids_;
  uint32_t* order_;
  uint32_t size_ = 0;
};

}  // namespace

// Several comparisons at once, because each waits for the one before it.
float Most(const float* logits, int64_t count, bool* is_number) {
  constexpr int64_t kLanes = 16;
  float most[kLanes];
  int32_t bad[kLanes] = {};
  std::fill(most, most + kLanes, -INFINITY);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) {
      const float x = logits[i + k];
      most[k] = x > most[k] ? x : most[k];
      bad[k] |= x != x;
    }
  }
  for (; i < count; ++i) {
    most[0] = logits[i] > most[0] ? logits[i] : most[0];
    bad[0] |= logits[i] != logits[i];
  }
  if (is_number) *is_number = std::count(bad, bad + kLanes, 0) == kLanes;
  return *std::max_element(most, most + kLanes);
}

int64_t Draw(const float* logits, int64_t count, const Settings& settings, double u,
             const Watermark* mark, const int64_t* tokens, size_t token_count, Workspace* work) {
  Candidates candidates(logits, count, settings, work);
  if (mark) candidates.Mark(*mark, tokens, token_count);
  return candidates.Draw(u);
}

uint32_t Largest(const float* logits, int64_t size, int64_t count, Workspace* work) {
  count = std::min(count, size);
  if (count == 0) return 0;
  double* keys = work->keys.get();
  for (int64_t i = 0; i < size; ++i) keys[i] = logits[i];
  const double edge =
      NthLargest(keys, static_cast<size_t>(size), static_cast<size_t>(count), work->weights.get());
  uint32_t found = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (keys[i] >= edge) work->order[found++] = static_cast<uint32_t>(i);
  }
  SortPlaces(keys, work->order.get(), found);
  return static_cast<uint32_t>(count);
}

void LogSum(const float* logits, int64_t count, Workspace* work, double* most, double* log_sum) {
  *most = *std::max_element(logits, logits + count);
  double* terms = work->keys.get();
  for (int64_t i = 0; i < count; ++i) terms[i] = std::exp(logits[i] - *most);
  *log_sum = std::log(Sum(terms, static_cast<size_t>(count)));
}

}  // namespace smelt::generation
