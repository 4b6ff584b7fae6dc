// Norms, softmax, activations, rope, matmul, convolution, conversions, thread pool.
#include <atomic>

#include "kernels_reference.h"

namespace smelt::testing {

namespace {

const int64_t kDims[] = {1, 7, 16, 33, 100, 576};

double D(float x) { return static_cast<double>(x); }

void TestNorms(Random& random) {
  for (int64_t dim : kDims) {
    for (int64_t rows : {1, 3, 200}) {
      const std::vector<float> x = random.Floats(rows * dim, 3.0f), add = random.Floats(rows * dim);
      const std::vector<float> weight = random.Floats(dim), bias = random.Floats(dim);
      for (int kind = 0; kind < 4; ++kind) {
        const bool layer = kind % 2 == 1, joined = kind >= 2;
        std::vector<double> want(x.size()), sums(x.size());
        for (int64_t r = 0; r < rows; ++r) {
          double mean = 0, square = 0;
          const auto at = [&](int64_t c) { return static_cast<size_t>(r * dim + c); };
          for (int64_t c = 0; c < dim; ++c) {
            sums[at(c)] = D(x[at(c)]) + (joined ? D(add[at(c)]) : 0);
            mean += sums[at(c)] / static_cast<double>(dim);
          }
          if (!layer) mean = 0;
          for (int64_t c = 0; c < dim; ++c) square += (sums[at(c)] - mean) * (sums[at(c)] - mean);
          const double scale = 1 / std::sqrt(square / static_cast<double>(dim) + 1e-5);
          for (int64_t c = 0; c < dim; ++c) {
            const size_t i = static_cast<size_t>(c);
            want[at(c)] = (sums[at(c)] - mean) * scale * (D(weight[i]) + (layer ? 0 : 1)) +
                          (layer ? D(bias[i]) : 0);
          }
        }
        ForEachExec([&](const Exec& exec) {
          where = layer ? "layer norm" : "rms norm";
          std::vector<float> y(x.size()), sum = x;
          NormArgs a;
          a.rows = rows;
          a.dim = dim;
          a.x = sum.data();
          a.weight = weight.data();
          a.eps = 1e-5f;
          a.y = y.data();
          if (joined) a.add = add.data(), a.sum = sum.data();
          if (layer)
            a.bias = bias.data(), LayerNorm(exec, a);
          else
            a.offset = 1.0f, RmsNorm(exec, a);
          if (dim > 1 || !layer) ExpectNear(y, want, 1e-5);
          ExpectNear(sum, sums, 1e-6);
        });
      }
    }
  }
}

void TestSoftmax(Random& random) {
  for (int64_t dim : kDims) {
    std::vector<float> x = random.Floats(5 * dim, 20.0f);
    for (int64_t c = 0; c < dim; ++c) {
      x[static_cast<size_t>(c)] = -INFINITY;
      if (c % 2 == 1) x[static_cast<size_t>(dim + c)] = -INFINITY;
    }
    std::vector<double> want(x.size());
    for (int64_t r = 1; r < 5; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < dim; ++c) sum += std::exp(D(x[static_cast<size_t>(r * dim + c)]));
      for (int64_t c = 0; c < dim; ++c)
        want[static_cast<size_t>(r * dim + c)] =
            std::exp(D(x[static_cast<size_t>(r * dim + c)])) / sum;
    }
    ForEachExec([&](const Exec& exec) {
      where = "softmax";
      std::vector<float> y = x;
      Softmax(exec, y.data(), 5, dim, y.data());
      ExpectNear(y, want, 2e-6);
    });
  }
}

void TestElementwise(Random& random) {
  std::vector<float> x = random.Floats(1000, 12.0f);
  const float special[] = {0.0f, -0.0f, 1e-30f, 88.0f, -88.0f, 200.0f, -200.0f, 1e-4f, -3e-4f};
  memcpy(x.data(), special, sizeof special);
  const std::vector<float> up = random.Floats(1000);
  for (int act = 0; act < 9; ++act) {
    std::vector<double> want(x.size()), gated(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      want[i] = ActRef(static_cast<Activation>(act), D(x[i]));
      gated[i] = want[i] * D(up[i]);
    }
    ForEachExec([&](const Exec& exec) {
      where = "activate";
      std::vector<float> y(x.size());
      Activate(exec, static_cast<Activation>(act), x.data(), 1000, y.data());
      ExpectNear(y, want, 3e-7);
      for (size_t i = 0; i < y.size();
           ++i) {  // 1 + erf and 1 + tanh cancel on the left: an error relative to x
        Expect(std::fabs(D(y[i]) - want[i]) <=
                   2e-7 * std::fmax(1.0, std::fabs(D(x[i]))) + 2e-6 * std::fabs(want[i]),
               "element");
      }
      GatedActivate(exec, static_cast<Activation>(act), x.data(), 100, up.data(), 100, 10, 100,
                    y.data(), 100);
      ExpectNear(y, gated, 3e-7);
    });
  }
  const auto unary = [&](Unary op, double (*f)(double), float scale, float shift) {
    std::vector<float> v = random.Floats(37, scale);
    std::vector<double> want(v.size());
    for (size_t i = 0; i < v.size(); ++i) v[i] += shift, want[i] = f(D(v[i]));
    ForEachExec([&](const Exec& exec) {
      where = "unary";
      std::vector<float> y(v.size());
      ApplyUnary(exec, op, v.data(), 37, y.data());
      for (size_t i = 0; i < y.size(); ++i)
        Expect(std::fabs(D(y[i]) - want[i]) <= 3e-7 + 2e-6 * std::fabs(want[i]), "element");
    });
  };
  unary(Unary::kExp, [](double v) { return std::exp(v); }, 80.0f, 0.0f);
  unary(Unary::kLog, [](double v) { return std::log(v); }, 2.0f, 3.0f);
  unary(Unary::kSqrt, [](double v) { return std::sqrt(v); }, 2.0f, 3.0f);
  unary(Unary::kRsqrt, [](double v) { return 1 / std::sqrt(v); }, 2.0f, 3.0f);
  unary(Unary::kNeg, [](double v) { return -v; }, 2.0f, 0.0f);
  unary(Unary::kAbs, [](double v) { return std::fabs(v); }, 2.0f, 0.0f);
  unary(Unary::kSin, [](double v) { return std::sin(v); }, 9.0f, 0.0f);
  unary(Unary::kCos, [](double v) { return std::cos(v); }, 9.0f, 0.0f);
  unary(Unary::kSoftplus, [](double v) { return std::log1p(std::exp(v)); }, 30.0f, 0.0f);
  unary(Unary::kErf, [](double v) { return std::erf(v); }, 5.0f, 0.0f);
  unary(Unary::kReciprocal, [](double v) { return 1 / v; }, 1.0f, 4.0f);
  unary(Unary::kSquare, [](double v) { return v * v; }, 4.0f, 0.0f);
}

void TestBinary(Random& random) {
  for (int op = 0; op < 7; ++op) {
    for (int shape = 0; shape < 4; ++shape) {  // b: full, row vector, column, scalar
      const int64_t rows = 5, cols = 45,
                    b_row = shape == 0   ? cols
                            : shape == 2 ? 1
                                         : 0,
                    b_col = shape < 2 ? 1 : 0;
      std::vector<float> a = random.Floats(rows * cols), b = random.Floats(rows * cols);
      for (float& v : a) v += 1.5f;
      for (float& v : b) v += 1.5f;
      std::vector<double> want(a.size());
      for (int64_t i = 0; i < rows * cols; ++i) {
        const double p = D(a[static_cast<size_t>(i)]),
                     q = D(b[static_cast<size_t>(i / cols * b_row + i % cols * b_col)]);
        const double all[] = {p + q,           p - q,           p * q,         p / q,
                              std::fmax(p, q), std::fmin(p, q), std::pow(p, q)};
        want[static_cast<size_t>(i)] = all[op];
      }
      ForEachExec([&](const Exec& exec) {
        where = "binary";
        std::vector<float> y(a.size());
        ApplyBinary(exec, static_cast<Binary>(op), a.data(), cols, 1, b.data(), b_row, b_col, rows,
                    cols, y.data());
        ExpectNear(y, want, 1e-6);
      });
    }
  }
}

void TestRope(Random& random) {
  for (int64_t rotary : {2, 10, 32, 40}) {
    for (bool interleaved : {false, true}) {
      const int64_t B = 2, H = 3, S = 5, D_ = 40, half = rotary / 2;
      const std::vector<float> x = random.Floats(B * S * H * D_),
                               angle = random.Floats(B * S * half, 3.0f);
      std::vector<float> cos(angle.size()), sin(angle.size());
      for (size_t i = 0; i < angle.size(); ++i)
        cos[i] = std::cos(angle[i]), sin[i] = std::sin(angle[i]);
      std::vector<double> want(x.begin(), x.end());
      for (int64_t row = 0; row < B * S * H; ++row) {  // x is [B, S, H, D]
        for (int64_t i = 0; i < half; ++i) {
          const size_t t = static_cast<size_t>(row / H * half + i);
          const size_t p = static_cast<size_t>(row * D_ + (interleaved ? 2 * i : i));
          const size_t q = p + static_cast<size_t>(interleaved ? 1 : half);
          want[p] = D(x[p]) * D(cos[t]) - D(x[q]) * D(sin[t]);
          want[q] = D(x[q]) * D(cos[t]) + D(x[p]) * D(sin[t]);
        }
      }
      ForEachExec([&](const Exec& exec) {
        where = "rope";
        for (bool in_place : {false, true}) {
          std::vector<float> y = in_place ? x : std::vector<float>(x.size());
          RopeArgs a;
          a.batch = B;
          a.heads = H;
          a.tokens = S;
          a.dim = D_;
          a.rotary = rotary;
          a.y = {y.data(), S * H * D_, D_, H * D_};
          a.x = in_place ? a.y : Heads{const_cast<float*>(x.data()), S * H * D_, D_, H * D_};
          a.cos = cos.data();
          a.sin = sin.data();
          a.table_batch = S * half;
          a.table_token = half;
          a.interleaved = interleaved;
          Rope(exec, a);
          ExpectNear(y, want, 1e-6);
        }
      });
    }
  }
}

void TestHalf() {
  where = "half";
  for (uint32_t h = 0; h < 65536; ++h) {
    const float x = FloatOfF16(static_cast<uint16_t>(h));
    if (std::isnan(x)) continue;
    Expect(F16OfFloat(x) == h, "f16 round trip");
    Expect(x == static_cast<float>(static_cast<double>(x)), "f16");
  }
  Expect(F16OfFloat(65519.0f) == 0x7BFF && F16OfFloat(65520.0f) == 0x7C00, "f16 overflow");
  Expect(F16OfFloat(2.9802322e-8f) == 0 && F16OfFloat(2.9802326e-8f) == 1, "f16 smallest");
  Expect(F16OfFloat(1.00048828125f) == 0x3C00 && F16OfFloat(1.00146484375f) == 0x3C02,
         "f16 ties to even");
  Expect(Bf16OfFloat(1.00390625f) == 0x3F80 && Bf16OfFloat(1.01171875f) == 0x3F82,
         "bf16 ties to even");
}

}  // namespace

void TestRows(Random& random) {
  TestHalf();
  TestNorms(random);
  TestSoftmax(random);
  TestElementwise(random);
  TestBinary(random);
  TestRope(random);
}

void TestMatrices(Random& random) {
  const int64_t shapes[][3] = {{1, 1, 1},    {1, 70, 33},    {7, 64, 300},
                               {13, 65, 17}, {200, 130, 40}, {5, 3, 0}};
  for (const auto& s : shapes) {
    for (bool transposed : {false, true}) {
      const int64_t m = s[0], n = s[1], k = s[2], batch = 2;
      const std::vector<float> a = random.Floats(batch * m * (k + 3)),
                               b = random.Floats(batch * (n + 1) * (k + 2));
      const int64_t ldb = transposed ? k + 2 : n + 1,
                    bb = (n + 1) * (k + 2) > 0 ? (n + 1) * (k + 2) : 0;
      std::vector<double> want(static_cast<size_t>(batch * m * n));
      for (int64_t i = 0; i < batch * m * n; ++i) {
        const int64_t x = i / (m * n), r = i / n % m, c = i % n;
        for (int64_t t = 0; t < k; ++t) {
          want[static_cast<size_t>(i)] +=
              D(a[static_cast<size_t>(x * m * (k + 3) + r * (k + 3) + t)]) *
              D(b[static_cast<size_t>(x * bb + (transposed ? c * ldb + t : t * ldb + c))]);
        }
      }
      ForEachExec([&](const Exec& exec) {
        where = "matmul";
        std::vector<float> y(want.size(), 5.0f);
        MatMulArgs args{batch, m,   n, k,           a.data(), b.data(), y.data(),
                        k + 3, ldb, n, m * (k + 3), bb,       m * n,    transposed};
        Buffer scratch(MatMulScratchBytes(exec, args));
        MatMul(exec, args, scratch.data());
        ExpectNear(y, want, 1e-5);
      });
    }
  }
  struct Shape {
    int64_t in, out, groups, h, w, kh, kw, sh, sw, dh, dw, pt, pb, pl, pr;
  };
  const Shape convs[] = {{80, 24, 1, 1, 50, 1, 3, 1, 1, 1, 1, 0, 0, 1, 1},
                         {24, 10, 1, 1, 51, 1, 3, 1, 2, 1, 1, 0, 0, 1, 1},
                         {3, 20, 1, 32, 32, 16, 16, 16, 16, 1, 1, 0, 0, 0, 0},
                         {12, 12, 12, 1, 9, 1, 4, 1, 1, 1, 1, 0, 0, 3, 0},
                         {6, 9, 3, 11, 12, 3, 2, 2, 1, 1, 2, 1, 0, 2, 1},
                         {4, 8, 4, 5, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}};
  for (const Shape& s : convs) {
    ConvArgs c;
    c.batch = 2, c.in = s.in, c.out = s.out, c.groups = s.groups, c.height = s.h, c.width = s.w;
    c.kernel_h = s.kh, c.kernel_w = s.kw, c.stride_h = s.sh, c.stride_w = s.sw, c.dilation_h = s.dh,
    c.dilation_w = s.dw;
    c.pad_top = s.pt, c.pad_bottom = s.pb, c.pad_left = s.pl, c.pad_right = s.pr;
    const int64_t oh = ConvOut(s.h, s.kh, s.sh, s.dh, s.pt + s.pb),
                  ow = ConvOut(s.w, s.kw, s.sw, s.dw, s.pl + s.pr);
    const int64_t in = s.in / s.groups, out = s.out / s.groups;
    const std::vector<float> x = random.Floats(2 * s.in * s.h * s.w),
                             w = random.Floats(s.out * in * s.kh * s.kw),
                             bias = random.Floats(s.out);
    std::vector<double> want(static_cast<size_t>(2 * s.out * oh * ow));
    for (int64_t i = 0; i < 2 * s.out * oh * ow; ++i) {
      const int64_t b = i / (s.out * oh * ow), o = i / (oh * ow) % s.out,
                    y0 = i / ow % oh * s.sh - s.pt, x0 = i % ow * s.sw - s.pl;
      double sum = D(bias[static_cast<size_t>(o)]);
      for (int64_t t = 0; t < in * s.kh * s.kw; ++t) {
        const int64_t ch = t / (s.kh * s.kw), yy = y0 + t / s.kw % s.kh * s.dh,
                      xx = x0 + t % s.kw * s.dw;
        if (yy < 0 || yy >= s.h || xx < 0 || xx >= s.w) continue;
        sum += D(w[static_cast<size_t>(o * in * s.kh * s.kw + t)]) *
               D(x[static_cast<size_t>(((b * s.in + o / out * in + ch) * s.h + yy) * s.w + xx)]);
      }
      want[static_cast<size_t>(i)] = sum;
    }
    ForEachExec([&](const Exec& exec) {
      where = "conv";
      std::vector<float> y(want.size());
      ConvArgs a = c;
      a.x = x.data(), a.w = w.data(), a.bias = bias.data(), a.y = y.data();
      Buffer scratch(ConvScratchBytes(exec, a));
      Conv(exec, a, scratch.data());
      ExpectNear(y, want, 1e-5);
    });
  }
}

// Many small loops, so that late wakers meet the next loop; every task exactly once.
void TestThreads() {
  where = "threads";
  for (int threads : {1, 2, 3, 4}) {
    ThreadPool pool;
    Expect(pool.Start(threads) == threads, "threads started");
    for (int round = 0; round < 3000; ++round) {
      const int64_t count = round % 37;
      std::atomic<int32_t> hits[40] = {};
      std::atomic<bool> outside{false};
      ParallelFor(&pool, count, [&](int64_t i, int thread) {
        if (thread < 0 || thread >= threads) outside = true;
        hits[i].fetch_add(1);
      });
      for (int64_t i = 0; i < 40; ++i) Expect(hits[i] == (i < count ? 1 : 0), "each task once");
      Expect(!outside, "thread index");
    }
  }
}

}  // namespace smelt::testing
