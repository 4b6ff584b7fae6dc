// Linear, embedding, rows, matmul, convolution: every instruction set and thread count against
// plain double loops.
#include "kernels_reference.h"

using namespace smelt;
using namespace smelt::testing;

namespace {

char label[160];

struct LinearCase {
  PackedShape shape;
  Input input;
  int64_t rows;
  bool bias, gated, residual;
  Activation act;
};

// The quantization of inputs, spelled out as in contracts: per row and group.
struct Quantized {
  std::vector<int32_t> q;
  std::vector<float> scales;
};
Quantized QuantizeRef(const std::vector<float>& x, int64_t rows, int64_t cols, int64_t group) {
  const int64_t groups = (cols + group - 1) / group;
  Quantized out{std::vector<int32_t>(x.size()),
                std::vector<float>(static_cast<size_t>(rows * groups))};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      float amax = 0.0f;
      const int64_t last = (g + 1) * group < cols ? (g + 1) * group : cols;
      for (int64_t c = g * group; c < last; ++c)
        amax = std::fmax(amax, std::fabs(x[static_cast<size_t>(r * cols + c)]));
      out.scales[static_cast<size_t>(r * groups + g)] = amax / 127.0f;
      for (int64_t c = g * group; c < last; ++c) {
        const float inverse = amax > 0 ? 127.0f / amax : 0.0f;
        const float v = std::nearbyintf(x[static_cast<size_t>(r * cols + c)] * inverse);
        out.q[static_cast<size_t>(r * cols + c)] = static_cast<int32_t>(v > 127    ? 127
                                                                        : v < -127 ? -127
                                                                                   : v);
      }
    }
  }
  return out;
}

std::vector<double> DotsRef(const Weights& w, Input input, const std::vector<float>& x,
                            int64_t rows) {
  const int64_t K = w.shape.cols, O = w.shape.rows, group = w.shape.group;
  std::vector<double> y(static_cast<size_t>(rows * O));
  if (input == Input::kInt8x2) {  // what the first term leaves over is quantized again
    const Quantized q = QuantizeRef(x, rows, K, group);
    const int64_t groups = (K + group - 1) / group;
    std::vector<float> left(x.size());
    for (int64_t i = 0; i < rows * K; ++i) {
      const float taken = q.scales[static_cast<size_t>(i / K * groups + i % K / group)] *
                          static_cast<float>(q.q[static_cast<size_t>(i)]);
      left[static_cast<size_t>(i)] = x[static_cast<size_t>(i)] - taken;
    }
    std::vector<double> sum = DotsRef(w, Input::kInt8, x, rows);
    const std::vector<double> rest = DotsRef(w, Input::kInt8, left, rows);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += rest[i];
    return sum;
  }
  const Quantized q = input == Input::kInt8 ? QuantizeRef(x, rows, K, group) : Quantized{};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < O; ++o) {
      double sum = 0;
      if (input == Input::kInt8) {
        const int64_t groups = (K + group - 1) / group;
        for (int64_t g = 0; g < groups; ++g) {
          int64_t dot = 0;
          for (int64_t c = g * group; c < (g + 1) * group && c < K; ++c) {
            dot += int64_t{w.codes[static_cast<size_t>(o * K + c)]} *
                   q.q[static_cast<size_t>(r * K + c)];
          }
          sum += static_cast<double>(w.scales[static_cast<size_t>(o * groups + g)]) *
                 static_cast<double>(q.scales[static_cast<size_t>(r * groups + g)]) *
                 static_cast<double>(dot);
        }
      } else {
        for (int64_t c = 0; c < K; ++c) {
          float v = x[static_cast<size_t>(r * K + c)];
          if (input == Input::kBf16) v = FloatOfBf16(Bf16OfFloat(v));
          sum +=
              static_cast<double>(v) * static_cast<double>(w.plain[static_cast<size_t>(o * K + c)]);
        }
      }
      y[static_cast<size_t>(r * O + o)] = sum;
    }
  }
  return y;
}

void TestLinear(Random& random, const LinearCase& c) {
  const int64_t K = c.shape.cols, O = c.shape.rows;
  const Weights w = MakeWeights(random, c.shape), w2 = MakeWeights(random, c.shape);
  const std::vector<float> x = random.Floats(c.rows * K), bias = random.Floats(O),
                           bias2 = random.Floats(O);
  const std::vector<float> residual = random.Floats(c.rows * O);
  std::vector<double> want = DotsRef(w, c.input, x, c.rows);
  const std::vector<double> up = c.gated ? DotsRef(w2, c.input, x, c.rows) : want;
  for (size_t i = 0; i < want.size(); ++i) {
    const size_t o = i % static_cast<size_t>(O);
    want[i] = ActRef(c.act, want[i] + (c.bias ? static_cast<double>(bias[o]) : 0));
    if (c.gated) want[i] *= up[i] + (c.bias ? static_cast<double>(bias2[o]) : 0);
    if (c.residual) want[i] += static_cast<double>(residual[i]);
  }
  std::vector<float> first[kIsas];
  ForEachExec([&](const Exec& exec) {
    snprintf(label, sizeof label,
             "linear format %d sym %d group %d input %d rows %d O %d K %d act %d gated %d %s/%d",
             static_cast<int>(c.shape.format), c.shape.symmetric, c.shape.group,
             static_cast<int>(c.input), static_cast<int>(c.rows), static_cast<int>(O),
             static_cast<int>(K), static_cast<int>(c.act), c.gated, IsaName(exec.isa),
             exec.threads());
    where = label;
    LinearArgs a;
    a.w = w.matrix();
    if (c.gated) a.w2 = w2.matrix();
    if (c.bias) a.bias = bias.data(), a.bias2 = bias2.data();
    a.act = c.act;
    a.input = c.input;
    a.rows = c.rows;
    a.x = x.data();
    a.x_stride = K;
    std::vector<float> y = residual;
    a.y = y.data();
    a.y_stride = O;
    if (c.residual) a.residual = y.data(), a.residual_stride = O;  // in place
    Buffer scratch(LinearScratchBytes(exec, c.shape, c.input, c.rows));
    Linear(exec, a, scratch.data());
    ExpectNear(y, want, 2e-5);
    std::vector<float>& one = first[static_cast<int>(exec.isa)];
    if (one.empty()) one = y;
    Expect(SameBits(one, y), "result depends on the number of threads");
  });
}

void TestLinears(Random& random) {
  const int64_t outs[] = {1, 16, 37, 80}, depths[] = {3, 16, 66, 160, 200};
  int turn = 0;
  for (int format = 0; format < 5; ++format) {
    for (int64_t rows : {1, 2, 5, 12, 13, 31, 45}) {
      for (int64_t O : outs) {
        for (int64_t K : depths) {
          ++turn;
          LinearCase c = {};
          c.shape = {static_cast<Format>(format), true, 0, O, K};
          c.rows = rows;
          c.bias = turn % 2 == 0;
          c.gated = turn % 3 == 0;
          c.residual = turn % 5 == 0;
          c.act = static_cast<Activation>(turn % 9);
          c.input = Input::kF32;
          if (format >= 3) {
            const int32_t groups[] = {16, 32, 64, 128};
            c.shape.group = groups[turn % 4];
            c.shape.symmetric = turn % 7 < 4;
            if (turn % 4 != 0) c.input = turn % 3 == 1 ? Input::kInt8x2 : Input::kInt8;
          } else if (format == 2 && turn % 2 == 0) {
            c.input = Input::kBf16;
          }
          TestLinear(random, c);
        }
      }
    }
  }
}

void TestScratchGrows() {
  where = "linear scratch";
  for (int format = 0; format < 5; ++format) {
    for (int input = 0; input < 4; ++input) {
      const PackedShape shape = {static_cast<Format>(format), true, format >= 3 ? 32 : 0, 100, 130};
      if (format < 3 && input >= static_cast<int>(Input::kInt8)) continue;
      ForEachExec([&](const Exec& exec) {
        size_t last = 0;
        for (int64_t rows = 1; rows < 200; ++rows) {
          const size_t bytes = LinearScratchBytes(exec, shape, static_cast<Input>(input), rows);
          Expect(bytes >= last, "grows with rows");
          last = bytes;
        }
      });
    }
  }
}

// With unit scales and inputs that quantize to themselves the result is the integer itself:
// bit-equal everywhere.
void TestIntegersExact(Random& random) {
  for (Format format : {Format::kInt8, Format::kInt4}) {
    for (bool symmetric : {true, false}) {
      for (int64_t rows : {1, 7, 25}) {
        const PackedShape shape = {format, symmetric, 128, 33, 256};
        const Weights w = MakeWeights(random, shape, true);
        std::vector<float> x(static_cast<size_t>(rows * 256));
        for (size_t i = 0; i < x.size(); ++i) {
          const int64_t dice = random.Int(0, 2);
          x[i] = static_cast<float>(i % 128 == 0 || dice == 0 ? 127
                                    : dice == 1               ? -127
                                                              : random.Int(-127, 127));
        }
        std::vector<float> want(static_cast<size_t>(rows * 33));
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t o = 0; o < 33; ++o) {
            int64_t dot = 0;
            for (int64_t c = 0; c < 256; ++c) {
              dot += w.codes[static_cast<size_t>(o * 256 + c)] *
                     static_cast<int64_t>(x[static_cast<size_t>(r * 256 + c)]);
            }
            want[static_cast<size_t>(r * 33 + o)] = static_cast<float>(dot);
          }
        }
        ForEachExec([&](const Exec& exec) {
          where = "integers exact";
          LinearArgs a;
          a.w = w.matrix();
          a.input = Input::kInt8;
          a.rows = rows;
          a.x = x.data();
          a.x_stride = 256;
          std::vector<float> y(want.size());
          a.y = y.data();
          a.y_stride = 33;
          Buffer scratch(LinearScratchBytes(exec, shape, a.input, rows));
          Linear(exec, a, scratch.data());
          Expect(SameBits(y, want), IsaName(exec.isa));
        });
      }
    }
  }
}

void TestQuantizeRows(Random& random) {
  for (int64_t cols : {1, 16, 50, 160}) {
    for (int64_t group : {16, 32, 48}) {
      std::vector<float> x = random.Floats(3 * cols, 5.0f);
      for (int64_t i = 0; i < cols; ++i)
        x[static_cast<size_t>(cols + i)] = i < 16 ? 0.0f : x[static_cast<size_t>(cols + i)];
      for (int64_t i = 0; i + 1 < cols; i += 2)
        x[static_cast<size_t>(i)] = static_cast<float>(i) + 0.5f;  // ties
      const Quantized want = QuantizeRef(x, 3, cols, group);
      ForEachExec([&](const Exec& exec) {
        where = "quantize rows";
        std::vector<int8_t> q(x.size());
        std::vector<float> scales(want.scales.size());
        QuantizeRows(exec, x.data(), cols, 3, cols, static_cast<int32_t>(group), q.data(),
                     scales.data());
        bool same = true;
        for (size_t i = 0; i < q.size(); ++i) same = same && q[i] == want.q[i];
        Expect(same, "codes");
        Expect(SameBits(scales, want.scales), "scales");
      });
    }
  }
}

void TestEmbedding(Random& random) {
  for (int format = 0; format < 5; ++format) {
    for (bool symmetric : {true, false}) {
      const PackedShape shape = {static_cast<Format>(format), symmetric, format >= 3 ? 32 : 0, 45,
                                 70};
      const Weights w = MakeWeights(random, shape);
      const std::vector<int64_t> ids = {0, 44, 16, 15, 16, 31};
      ForEachExec([&](const Exec& exec) {
        where = "embedding";
        std::vector<float> y(ids.size() * 72, 7.0f), all(45 * 70);
        Expect(EmbeddingRows(exec, w.matrix(), ids.data(), 6, y.data(), 72), "valid ids");
        for (size_t i = 0; i < ids.size(); ++i) {
          Expect(memcmp(&y[i * 72], &w.plain[static_cast<size_t>(ids[i]) * 70], 70 * 4) == 0,
                 "row differs");
        }
        Unpack(exec, w.matrix(), all.data());
        Expect(SameBits(all, w.plain), "unpack differs");
        const int64_t bad[] = {45, -1};
        Expect(!EmbeddingRows(exec, w.matrix(), bad, 1, y.data(), 72), "id past the end");
        Expect(!EmbeddingRows(exec, w.matrix(), bad + 1, 1, y.data(), 72), "negative id");
        const PackedMatrix part = RowsOf(w.matrix(), 32, 13);
        std::vector<float> tail(13 * 70);
        Unpack(exec, part, tail.data());
        Expect(memcmp(tail.data(), &w.plain[32 * 70], tail.size() * 4) == 0, "rows of");
      });
    }
  }
}

void TestGrouped(Random& random) {
  for (int64_t rows : {1, 4, 6, 40, 90}) {
    for (int format : {0, 2, 3, 4}) {
      const int64_t count = 5, K = 70, O = 21, tokens = (rows + 1) / 2;
      const PackedShape shape = {static_cast<Format>(format), true, format >= 3 ? 32 : 0, O, K};
      const Input input = format == 4 ? Input::kInt8x2 : format == 3 ? Input::kInt8 : Input::kF32;
      const int64_t bytes = LayoutOf(shape).bytes;
      Buffer blob(static_cast<size_t>(bytes * count)), blob2(static_cast<size_t>(bytes * count));
      std::vector<Weights> w, w2;
      for (int64_t e = 0; e < count; ++e) {
        w.push_back(MakeWeights(random, shape));
        w2.push_back(MakeWeights(random, shape));
        memcpy(blob.data() + e * bytes, w.back().data(), static_cast<size_t>(bytes));
        memcpy(blob2.data() + e * bytes, w2.back().data(), static_cast<size_t>(bytes));
      }
      const std::vector<float> x = random.Floats(tokens * K), bias = random.Floats(count * O);
      std::vector<int32_t> experts, source;
      for (int64_t i = 0; i < rows; ++i) {
        experts.push_back(static_cast<int32_t>(random.Int(-1, count - 1)));
        source.push_back(static_cast<int32_t>(i / 2));
      }
      std::vector<double> want(static_cast<size_t>(rows * O));
      for (int64_t i = 0; i < rows; ++i) {
        const int32_t e = experts[static_cast<size_t>(i)];
        if (e < 0) continue;
        const std::vector<float> row(x.begin() + i / 2 * K, x.begin() + (i / 2 + 1) * K);
        const std::vector<double> gate = DotsRef(w[static_cast<size_t>(e)], input, row, 1);
        const std::vector<double> up = DotsRef(w2[static_cast<size_t>(e)], input, row, 1);
        for (int64_t o = 0; o < O; ++o) {
          const double g = gate[static_cast<size_t>(o)] +
                           static_cast<double>(bias[static_cast<size_t>(e * O + o)]);
          want[static_cast<size_t>(i * O + o)] =
              ActRef(Activation::kSilu, g) * up[static_cast<size_t>(o)];
        }
      }
      ForEachExec([&](const Exec& exec) {
        snprintf(label, sizeof label, "grouped rows %d format %d %s", static_cast<int>(rows),
                 format, IsaName(exec.isa));
        where = label;
        GroupedLinearArgs a;
        a.linear.w = MatrixAt(shape, blob.data());
        a.linear.w2 = MatrixAt(shape, blob2.data());
        a.linear.bias = bias.data();
        a.linear.act = Activation::kSilu;
        a.linear.input = input;
        a.linear.rows = rows;
        a.linear.x = x.data();
        a.linear.x_stride = K;
        std::vector<float> y(want.size(), 9.0f);
        a.linear.y = y.data();
        a.linear.y_stride = O;
        a.count = count;
        a.expert_bytes = bytes;
        a.experts = experts.data();
        a.source = source.data();
        Buffer scratch(GroupedLinearScratchBytes(exec, shape, input, rows, count));
        GroupedLinear(exec, a, scratch.data());
        ExpectNear(y, want, 2e-5);
      });
    }
  }
}

}  // namespace

namespace smelt::testing {
void TestRows(Random& random);
void TestMatrices(Random& random);
void TestAttention(Random& random);
void TestThreads();
}  // namespace smelt::testing

int main() {
  Random random;
  TestThreads();
  TestScratchGrows();
  TestQuantizeRows(random);
  TestIntegersExact(random);
  TestLinears(random);
  TestEmbedding(random);
  TestGrouped(random);
  TestRows(random);
  TestMatrices(random);
  TestAttention(random);
  printf(failures == 0 ? "all kernels agree\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
