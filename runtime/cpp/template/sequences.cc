// Filters over sequences that take tests, filters, attributes and orders.
#include "template/machine.h"

namespace smelt::chat {

bool Machine::Select(Filter filter, const Value& value, const Value* args, uint32_t count,
                     Value* out) {
  const bool by_attribute = filter == Filter::kSelectAttr || filter == Filter::kRejectAttr;
  const bool rejects = filter == Filter::kReject || filter == Filter::kRejectAttr;
  const Value* attribute = args;
  if (by_attribute) ++args, --count;
  const int64_t test = args[0].is(Tag::kInt) ? args[0].integer : kTests;
  const uint32_t wanted = test >= static_cast<int64_t>(Test::kDivisibleBy) ? 2 : 1;
  if (test < -1 || test >= kTests || count != wanted)
    return Fail(Code::kBadFile, "the code has an unknown test");
  List* items;
  List* list = NewList(0, ListKind::kGenerator);
  if (!list || !Items(value, &items)) return false;
  for (uint32_t i = 0; i < items->size; ++i) {
    Value item = items->items[i];
    if (by_attribute && !Path(item, *attribute, &item)) return false;
    bool passes = Truth(item);
    if (test >= 0 && !Ask(static_cast<Test>(test), item, args + 1, &passes)) return false;
    if (!Pay(1) || (passes != rejects && !Append(list, items->items[i]))) return false;
  }
  *out = Of(list);
  return true;
}

bool Machine::Map(const Value& value, const Value* args, uint32_t count, Value* out) {
  const int64_t filter = args[0].is(Tag::kInt) ? args[0].integer : kFilters;
  if (filter < 0 || filter >= kFilters || count != 1u + kFilterArguments[filter])
    return Fail(Code::kBadFile, "the code has an unknown filter");
  List* items;
  List* list = NewList(0, ListKind::kGenerator);
  if (!list || !Items(value, &items)) return false;
  for (uint32_t i = 0; i < items->size; ++i) {
    Value made;
    if (!Apply(static_cast<Filter>(filter), items->items[i], args + 1, count - 1, &made) ||
        !Append(list, made))
      return false;
  }
  *out = Of(list);
  return true;
}

bool Machine::MapAttribute(const Value& value, const Value* args, Value* out) {
  List* items;
  List* list = NewList(0, ListKind::kGenerator);
  if (!list || !Items(value, &items)) return false;
  for (uint32_t i = 0; i < items->size; ++i) {
    Value made;
    if (!Path(items->items[i], args[0], &made)) return false;
    if (made.is(Tag::kUndefined) && !args[1].is(Tag::kNone)) made = args[1];
    if (!Append(list, made)) return false;
  }
  *out = Of(list);
  return true;
}

bool Machine::SortKeys(const List& items, bool cased, const Value& attribute, Value** out) {
  Value* keys = *out = New<Value>(items.size);
  if (!keys) return false;
  for (uint32_t i = 0; i < items.size; ++i) {
    keys[i] = items.items[i];
    if (!attribute.is(Tag::kNone) && !Path(keys[i], attribute, &keys[i])) return false;
    if (!cased && keys[i].is(Tag::kString) && !Case(keys[i], 1, &keys[i])) return false;
  }
  return Pay(items.size);
}

bool Machine::Sort(const Value& value, const Value& reverse, const Value& cased,
                   const Value& attribute, Value* out) {
  List* items;
  Value* keys;
  if (!Items(value, &items) || !SortKeys(*items, Truth(cased), attribute, &keys)) return false;
  const uint32_t size = items->size;
  auto* from = New<uint32_t>(size);
  auto* to = New<uint32_t>(size);
  if (!from || !to) return false;
  for (uint32_t i = 0; i < size; ++i) from[i] = i;
  const bool down = Truth(reverse);
  for (uint32_t run = 1; run < size; run *= 2) {  // merges runs, the left one first when equal
    for (uint32_t begin = 0; begin < size; begin += 2 * run) {
      const uint32_t middle = size - begin < run ? size : begin + run;
      const uint32_t end = size - begin < 2 * run ? size : begin + 2 * run;
      for (uint32_t left = begin, right = middle, at = begin; at < end; ++at) {
        int order = -1;
        if (left < middle && right < end) {
          const Value &one = keys[from[left]], &other = keys[from[right]];
          bool same;  // then it does not matter whether they have an order
          if (!Equal(one, other, &same) || (!same && !Order(one, other, &order))) return false;
          if (same) order = 0;
          if (down) order = -order;
        } else if (left == middle) {
          order = 1;
        }
        to[at] = order <= 0 ? from[left++] : from[right++];
      }
    }
    uint32_t* const other = from;
    from = to;
    to = other;
  }
  List* list = NewList(size);
  if (!list) return false;
  for (uint32_t i = 0; i < size; ++i) {
    if (!Append(list, items->items[from[i]])) return false;
  }
  *out = Of(list);
  return true;
}

bool Machine::DictSort(const Value& value, const Value* args, Value* out) {
  if (!value.is(Tag::kDict)) return FailType("dictsort", value);
  const bool by_value = args[1].Equals("value");
  if (!by_value && !args[1].Equals("key"))
    return Fail(Code::kInvalidArgument, "dictsort goes by key or by value");
  Value pairs;
  return Pairs(*value.dict, ListKind::kList, &pairs) &&
         Sort(pairs, args[2], args[0], Value::Int(by_value), out);
}

bool Machine::Unique(const Value& value, const Value* args, Value* out) {
  List* items;
  Value* keys;
  List* list = NewList(0, ListKind::kGenerator);
  if (!list || !Items(value, &items) || !SortKeys(*items, Truth(args[0]), args[1], &keys))
    return false;
  for (uint32_t i = 0; i < items->size; ++i) {
    bool is_known = false;
    if (CannotBeHashed(keys[i])) return FailType("unique", keys[i]);
    for (uint32_t k = 0; k < i && !is_known; ++k) {
      if (!Equal(keys[k], keys[i], &is_known)) return false;
    }
    if (!is_known && !Append(list, items->items[i])) return false;
  }
  *out = Of(list);
  return true;
}

bool Machine::Extreme(const Value& value, const Value* args, bool most, Value* out) {
  List* items;
  Value* keys;
  if (!Items(value, &items) || !SortKeys(*items, Truth(args[0]), args[1], &keys)) return false;
  *out = Value::Undefined("an item of an empty list", 24);
  uint32_t best = 0;
  for (uint32_t i = 1; i < items->size; ++i) {
    int order;
    if (!Order(keys[i], keys[best], &order)) return false;
    if (most ? order > 0 : order < 0) best = i;
  }
  if (items->size) *out = items->items[best];
  return true;
}

bool Machine::Sum(const Value& value, const Value* args, Value* out) {
  Value all = value;
  if (!args[0].is(Tag::kNone)) {
    const Value by[2] = {args[0], Value::None()};
    if (!MapAttribute(value, by, &all)) return false;
  }
  List* items;
  if (!Items(all, &items)) return false;
  *out = args[1];
  if (out->is(Tag::kString)) return FailType("a sum", *out);
  for (uint32_t i = 0; i < items->size; ++i) {
    if (!Combine(Binary::kAdd, *out, items->items[i], out)) return false;
  }
  return true;
}

}  // namespace smelt::chat
