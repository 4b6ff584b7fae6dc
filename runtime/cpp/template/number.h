// Numbers as text, whatever the locale is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace smelt::chat {

// Plain digits with an optional sign, and no more than 64 bits of them.
bool ParseInteger(const char* text, size_t bytes, int64_t* out);
// Digits with an optional sign, point and exponent; false when there are too many.
bool ParseReal(const char* text, size_t bytes, double* out);
// As Python's repr: the shortest digits that give the same number. Returns the bytes, at most 32.
size_t WriteReal(double value, char* out);

}  // namespace smelt::chat
