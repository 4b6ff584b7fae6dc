// A test is a function; a check that fails prints its place and is counted. `make` needs no more.
#pragma once

#include <cstdio>
#include <vector>

namespace smelt::testing {

struct Test {
  const char* name;
  void (*run)();
};
inline std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}
inline int& Failures() {
  static int failures = 0;
  return failures;
}
struct Register {
  Register(const char* name, void (*run)()) { Tests().push_back({name, run}); }
};

inline int RunAll() {
  int passed = 0, failed = 0;
  for (const Test& test : Tests()) {
    const int before = Failures();
    test.run();
    (Failures() == before ? passed : failed)++;
    if (Failures() != before) std::printf("FAILED %s\n", test.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

}  // namespace smelt::testing

#define TEST(name)                                                           \
  static void Test##name();                                                  \
  static const smelt::testing::Register register_##name(#name, &Test##name); \
  static void Test##name()
#define EXPECT(condition)                                                       \
  do {                                                                          \
    if (!(condition)) {                                                         \
      std::printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      ++smelt::testing::Failures();                                             \
    }                                                                           \
  } while (0)
// For what the rest of the test needs.
#define REQUIRE(condition)    \
  do {                        \
    EXPECT(condition);        \
    if (!(condition)) return; \
  } while (0)
#define EXPECT_OK(status)                                                     \
  do {                                                                        \
    const smelt::Status& smelt_result = (status);                             \
    if (!smelt_result.ok())                                                   \
      std::printf("%s:%d: %s\n", __FILE__, __LINE__, smelt_result.message()); \
    EXPECT(smelt_result.ok());                                                \
  } while (0)
