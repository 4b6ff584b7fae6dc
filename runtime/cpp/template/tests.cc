// Tests, and the filters that make numbers.
#include <cmath>

#include "template/machine.h"
#include "template/number.h"

namespace smelt::chat {

namespace {

// The part of a text that Python's int and float read: without spaces and single underscores.
size_t NumberText(const Value& text, char* out, size_t room) {
  size_t size = 0;
  for (uint32_t i = 0; i < text.size; ++i) {
    const char c = text.text[i];
    const auto is_digit = [&](uint32_t at) {
      return at < text.size && text.text[at] >= '0' && text.text[at] <= '9';
    };
    if (c == '_' && i > 0 && is_digit(i - 1) && is_digit(i + 1)) continue;
    if (size + 1 >= room || c == 'x' || c == 'X' || c == 0) return 0;
    out[size++] = c;
  }
  return size;
}

bool ReadReal(const char* text, size_t bytes, double* out) {
  char word[16] = "";
  const size_t sign = bytes && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  for (size_t i = sign; i < bytes && bytes - sign < sizeof word; ++i)
    word[i - sign] = static_cast<char>(text[i] | 32);
  const bool is_infinite = !std::strcmp(word, "inf") || !std::strcmp(word, "infinity");
  if (is_infinite || !std::strcmp(word, "nan")) {
    *out = is_infinite ? (text[0] == '-' ? -HUGE_VAL : HUGE_VAL) : std::nan("");
    return true;
  }
  size_t digits = 0;
  for (size_t i = 0; i < bytes; ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      ++digits;
    } else if (!std::strchr("+-.eE", c)) {
      return false;
    }
  }
  return digits && ParseReal(text, bytes, out);
}

}  // namespace

bool Machine::ToFloat(const Value& value, const Value& missing, Value* out) {
  if (value.is(Tag::kUndefined)) return FailUndefined(value);
  if (!Pay(1 + (value.is(Tag::kString) ? value.size / 8 : 0))) return false;
  *out = missing;
  char text[512];
  double real;
  if (value.is(Tag::kFloat)) {
    *out = value;
  } else if (value.is_integer()) {
    *out = Value::Float(static_cast<double>(value.integer));
  } else if (value.is(Tag::kString)) {
    const size_t bytes = NumberText(Stripped(value, nullptr, true, true), text, sizeof text);
    if (bytes && ReadReal(text, bytes, &real)) *out = Value::Float(real);
  }
  return true;
}

bool Machine::ToInt(const Value& value, const Value& missing, Value* out) {
  if (value.is_integer()) {
    *out = Value::Int(value.integer);
    return true;
  }
  if (value.is(Tag::kString)) {
    if (!Pay(1 + value.size / 8)) return false;
    char text[512];
    int64_t integer;
    const size_t bytes = NumberText(Stripped(value, nullptr, true, true), text, sizeof text);
    if (bytes && ParseInteger(text, bytes, &integer)) {
      *out = Value::Int(integer);
      return true;
    }
  }
  Value real;
  if (!ToFloat(value, Value::None(), &real)) return false;
  *out = missing;
  if (!real.is(Tag::kFloat) || !std::isfinite(real.real)) return true;
  if (std::fabs(real.real) >= 9.2e18)
    return Fail(Code::kUnsupported, "an integer has more than 64 bits");
  *out = Value::Int(static_cast<int64_t>(real.real));
  return true;
}

bool Machine::Ask(Test test, const Value& value, const Value* args, bool* out) {
  const bool is_row = value.is(Tag::kList);
  switch (test) {
    case Test::kDefined:
    case Test::kUndefined:
      *out = value.is(Tag::kUndefined) == (test == Test::kUndefined);
      return true;
    case Test::kNone:
      *out = value.is(Tag::kNone);
      return true;
    case Test::kString:
      *out = value.is(Tag::kString);
      return true;
    case Test::kMapping:
      *out = value.is(Tag::kDict);
      return true;
    case Test::kIterable:
      *out = is_row || value.is(Tag::kString) || value.is(Tag::kDict) || value.is(Tag::kUndefined);
      *out = *out || value.is(Tag::kLoop);
      return true;
    case Test::kSequence:
      *out = value.is(Tag::kString) || value.is(Tag::kDict) || value.is(Tag::kUndefined) ||
             (is_row && value.list->kind < ListKind::kView);
      return true;
    case Test::kBoolean:
      *out = value.is(Tag::kBool);
      return true;
    case Test::kTrue:
    case Test::kFalse:
      *out = value.is(Tag::kBool) && (value.integer != 0) == (test == Test::kTrue);
      return true;
    case Test::kNumber:
      *out = value.is_number();
      return true;
    case Test::kInteger:
      *out = value.is(Tag::kInt);
      return true;
    case Test::kFloat:
      *out = value.is(Tag::kFloat);
      return true;
    case Test::kCallable:  // what is undefined can be called, if only to fail
      *out = value.is(Tag::kMacro) || value.is(Tag::kFunction) || value.is(Tag::kMethod) ||
             value.is(Tag::kUndefined) || value.is(Tag::kLoop);
      return true;
    case Test::kOdd:
    case Test::kEven:
    case Test::kDivisibleBy: {
      Value rest;
      const Value by = test == Test::kDivisibleBy ? args[0] : Value::Int(2);
      if (!Combine(Binary::kModulo, value, by, &rest)) return false;
      return Equal(rest, Value::Int(test == Test::kOdd), out);
    }
    default:
      break;
  }
  static const Comparison kHow[] = {
      Comparison::kEqual, Comparison::kNot,       Comparison::kLess, Comparison::kLessEqual,
      Comparison::kMore,  Comparison::kMoreEqual, Comparison::kIn};
  return Compare(kHow[static_cast<int>(test) - static_cast<int>(Test::kEqual)], value, args[0],
                 out);
}

}  // namespace smelt::chat
