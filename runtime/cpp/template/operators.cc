// Arithmetic and comparisons, as Python has them.
#include <cmath>

#include "template/machine.h"

namespace smelt::chat {

namespace {

double RealOf(const Value& v) {
  return v.is(Tag::kFloat) ? v.real : static_cast<double>(v.integer);
}

}  // namespace

bool Machine::Equal(const Value& a, const Value& b, bool* out, uint32_t depth) {
  *out = false;
  if (depth > 2 * kMostDepth) return Fail(Code::kUnsupported, "values are nested too deeply");
  if (!Pay(1)) return false;
  if (a.is_number() && b.is_number()) {
    *out = a.is_integer() && b.is_integer() ? a.integer == b.integer : RealOf(a) == RealOf(b);
    return true;
  }
  if (a.tag != b.tag) return true;
  switch (a.tag) {
    case Tag::kMissing:
    case Tag::kUndefined:
    case Tag::kNone:
      *out = true;
      return true;
    case Tag::kString:
      *out = a.SameText(b);
      return Pay(a.size == b.size ? a.size / 16 : 0);
    case Tag::kList: {
      const List &left = *a.list, &right = *b.list;
      if (a.list == b.list) return *out = true;
      if (left.kind != right.kind || left.kind >= ListKind::kView || left.size != right.size)
        return true;
      bool same = true;
      for (uint32_t i = 0; i < left.size && same; ++i) {
        if (!Equal(left.items[i], right.items[i], &same, depth + 1)) return false;
      }
      *out = same;
      return true;
    }
    case Tag::kDict: {
      bool same = a.dict->size == b.dict->size;
      for (uint32_t i = 0; i < a.dict->size && same; ++i) {
        Value* found;
        if (!Find(*b.dict, a.dict->items[i].key, &found)) return false;
        same = found != nullptr;
        if (found && !Equal(a.dict->items[i].value, *found, &same, depth + 1)) return false;
      }
      *out = same;
      return true;
    }
    case Tag::kNamespace:
      *out = a.dict == b.dict;
      return true;
    case Tag::kLoop:
      *out = a.loop == b.loop;
      return true;
    case Tag::kMethod:
      return Fail(Code::kUnsupported, "methods are not compared");
    default:
      *out = a.integer == b.integer;
      return true;
  }
}

bool Machine::Order(const Value& a, const Value& b, int* out, uint32_t depth) {
  if (depth > 2 * kMostDepth) return Fail(Code::kUnsupported, "values are nested too deeply");
  if (!Pay(1)) return false;
  if (a.is_integer() && b.is_integer()) {
    *out = (a.integer > b.integer) - (a.integer < b.integer);
    return true;
  }
  if (a.is_number() && b.is_number()) {
    const double left = RealOf(a), right = RealOf(b);
    if (std::isnan(left) || std::isnan(right))
      return Fail(Code::kUnsupported, "what is no number is not compared");
    *out = (left > right) - (left < right);
    return true;
  }
  if (a.is(Tag::kString) && b.is(Tag::kString)) {
    const uint32_t common = a.size < b.size ? a.size : b.size;
    *out = common ? std::memcmp(a.text, b.text, common) : 0;
    if (*out == 0) *out = (a.size > b.size) - (a.size < b.size);
    return Pay(common / 16);
  }
  if (a.is(Tag::kList) && b.is(Tag::kList) && a.list->kind == b.list->kind &&
      a.list->kind < ListKind::kRange) {
    const List &left = *a.list, &right = *b.list;
    for (uint32_t i = 0; i < left.size && i < right.size; ++i) {
      bool same;
      if (!Equal(left.items[i], right.items[i], &same, depth + 1)) return false;
      if (!same) return Order(left.items[i], right.items[i], out, depth + 1);
    }
    *out = (left.size > right.size) - (left.size < right.size);
    return true;
  }
  return FailType("an order", a.is_number() || a.is(Tag::kString) ? b : a);
}

bool Machine::Contains(const Value& all, const Value& one, bool* out) {
  *out = false;
  if (all.is(Tag::kString)) {
    if (!one.is(Tag::kString)) return FailType("looking in a string", one);
    if (one.size == 0) return *out = true;
    const char* end = all.text + all.size;
    for (const char* p = all.text; static_cast<size_t>(end - p) >= one.size;) {
      p = static_cast<const char*>(
          std::memchr(p, one.text[0], static_cast<size_t>(end - p) - one.size + 1));
      if (!p) break;
      if (!Pay(1 + one.size / 16)) return false;
      if (std::memcmp(p, one.text, one.size) == 0) {
        *out = true;
        break;
      }
      ++p;
    }
    return Pay(1 + all.size / 16);
  }
  if (all.is(Tag::kDict)) {
    if (CannotBeHashed(one)) return FailType("looking for a key", one);
    Value* found;
    if (!Find(*all.dict, one, &found)) return false;
    *out = found != nullptr;
    return true;
  }
  List* items;
  if (!Items(all, &items)) return false;
  for (uint32_t i = 0; i < items->size && !*out; ++i) {
    if (!Equal(items->items[i], one, out)) return false;
  }
  return true;
}

bool Machine::Compare(Comparison how, const Value& a, const Value& b, bool* out) {
  int order = 0;
  switch (how) {
    case Comparison::kEqual:
      return Equal(a, b, out);
    case Comparison::kNot:
      if (!Equal(a, b, out)) return false;
      *out = !*out;
      return true;
    case Comparison::kIn:
      return Contains(b, a, out);
    case Comparison::kNotIn:
      if (!Contains(b, a, out)) return false;
      *out = !*out;
      return true;
    default:
      break;
  }
  if (!Order(a, b, &order)) return false;
  *out = how == Comparison::kLess        ? order < 0
         : how == Comparison::kLessEqual ? order <= 0
         : how == Comparison::kMore      ? order > 0
                                         : order >= 0;
  return true;
}

bool Machine::Join2(const Value& a, const Value& b, Value* out) {
  if (a.is(Tag::kString)) {
    Builder text(this);
    const bool is_safe = a.is_safe || b.is_safe;
    if (is_safe) {
      text.AddEscaped(a);
      text.AddEscaped(b);
    } else {
      text.Start(a);
      text.Add(b);
    }
    if (!text.Finish(out)) return false;
    out->is_safe = is_safe;
    return true;
  }
  List* list = NewList(a.list->size + b.list->size, a.list->kind);
  if (!list) return false;
  for (const List* from : {a.list, b.list}) {
    for (uint32_t i = 0; i < from->size; ++i) {
      if (!Append(list, from->items[i])) return false;
    }
  }
  *out = Of(list);
  return true;
}

bool Machine::Repeat(const Value& a, int64_t times, Value* out) {
  if (times < 0) times = 0;
  if (a.is(Tag::kString)) {
    Builder text(this);
    for (int64_t i = 0; a.size && i < times && !text.is_full(); ++i) text.Add(a);
    if (!text.Finish(out)) return false;
    *out = out->SafeAs(a);
    return true;
  }
  List* list = NewList(0, a.list->kind);
  if (!list) return false;
  for (int64_t i = 0; a.list->size && i < times; ++i) {
    for (uint32_t k = 0; k < a.list->size; ++k) {
      if (!Append(list, a.list->items[k])) return false;
    }
  }
  *out = Of(list);
  return true;
}

bool Machine::Combine(Binary how, const Value& a, const Value& b, Value* out) {
  const auto is_row = [](const Value& v) {
    return v.is(Tag::kString) || (v.is(Tag::kList) && v.list->kind < ListKind::kRange);
  };
  if (how == Binary::kAdd && is_row(a) && a.tag == b.tag &&
      (a.is(Tag::kString) || a.list->kind == b.list->kind))
    return Join2(a, b, out);
  if (how == Binary::kMultiply && is_row(a) && b.is_integer()) return Repeat(a, b.integer, out);
  if (how == Binary::kMultiply && is_row(b) && a.is_integer()) return Repeat(b, a.integer, out);
  if (how == Binary::kModulo && a.is(Tag::kString))
    return Fail(Code::kUnsupported, "formatting with `%%` is not supported");
  if (!a.is_number() || !b.is_number()) {
    if (b.is(Tag::kUndefined)) return FailUndefined(b);
    return FailType("arithmetic", a.is_number() ? b : a);
  }
  if (a.is_integer() && b.is_integer() && how != Binary::kDivide &&
      !(how == Binary::kPower && b.integer < 0))
    return Integers(how, a.integer, b.integer, out);
  return Reals(how, RealOf(a), RealOf(b), out);
}

bool Machine::Integers(Binary how, int64_t a, int64_t b, Value* out) {
  int64_t made = 0;
  bool overflows = false;
  switch (how) {
    case Binary::kAdd:
      overflows = __builtin_add_overflow(a, b, &made);
      break;
    case Binary::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &made);
      break;
    case Binary::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &made);
      break;
    case Binary::kFloorDivide:
    case Binary::kModulo: {
      if (b == 0) return Fail(Code::kInvalidArgument, "division by zero");
      if (b == -1) {  // the least integer has no opposite
        overflows = how == Binary::kFloorDivide && __builtin_sub_overflow(int64_t{0}, a, &made);
        break;
      }
      const bool is_below = a % b != 0 && (a % b < 0) != (b < 0);
      made = how == Binary::kModulo ? a % b + (is_below ? b : 0) : a / b - is_below;
      break;
    }
    default: {  // a power
      made = 1;
      int64_t base = a;
      for (int64_t left = b; left > 0 && !overflows; left >>= 1) {
        if (left & 1) overflows = __builtin_mul_overflow(made, base, &made);
        if (left > 1 && !overflows) overflows = __builtin_mul_overflow(base, base, &base);
      }
    }
  }
  if (overflows) return Fail(Code::kUnsupported, "an integer has more than 64 bits");
  *out = Value::Int(made);
  return true;
}

bool Machine::Reals(Binary how, double a, double b, Value* out) {
  double made = 0;
  switch (how) {
    case Binary::kAdd:
      made = a + b;
      break;
    case Binary::kSubtract:
      made = a - b;
      break;
    case Binary::kMultiply:
      made = a * b;
      break;
    case Binary::kPower:
      made = std::pow(a, b);
      if ((a < 0 && b != std::floor(b)) || (a == 0 && b < 0) || std::isinf(made))
        return Fail(Code::kInvalidArgument, "a power that is no real number");
      break;
    default: {
      if (b == 0) return Fail(Code::kInvalidArgument, "division by zero");
      if (how == Binary::kDivide) {
        made = a / b;
        break;
      }
      double rest = std::fmod(a, b), quotient = (a - rest) / b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient -= 1;
      } else if (rest == 0) {
        rest = std::copysign(0.0, b);
      }
      double whole = std::floor(quotient);
      if (quotient - whole > 0.5) whole += 1;
      if (quotient == 0) whole = std::copysign(0.0, a / b);
      made = how == Binary::kModulo ? rest : whole;
    }
  }
  *out = Value::Float(made);
  return true;
}

bool Machine::Negate(const Value& a, bool minus, Value* out) {
  if (!a.is_number()) return FailType("a sign", a);
  if (a.is(Tag::kFloat)) {
    *out = Value::Float(minus ? -a.real : a.real);
    return true;
  }
  return Integers(minus ? Binary::kSubtract : Binary::kAdd, 0, a.integer, out);
}

}  // namespace smelt::chat
