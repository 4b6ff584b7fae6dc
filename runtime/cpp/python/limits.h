// What this machine can do at most, measured in a few milliseconds: the roofline of a profile.
#pragma once

namespace smelt {

struct Limits {
  double bytes = 0;   // read from memory, a second
  double int8 = 0;    // operations of int8 products that sum in int32, a second
  double bf16 = 0;    // operations of bf16 products that sum in f32, a second
  double floats = 0;  // operations of f32 products, a second; AMX does one as six of bf16
};

// With so many threads, and with the instructions that the kernels use. 0: not known here.
Limits MeasureLimits(int threads);

}  // namespace smelt
