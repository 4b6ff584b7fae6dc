// Looking into values: truth, items, attributes, subscripts, slices.
#include "template/machine.h"
#include "text/utf8.h"

namespace smelt::chat {

namespace {

// The attributes of Python's types: where one of them is named, a key of that name is not meant.
constexpr char kOfStrings[] =
    " capitalize casefold center count encode endswith expandtabs find format format_map index "
    "isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace "
    "istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace "
    "rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title "
    "translate upper zfill ";
constexpr char kOfDicts[] = " copy fromkeys get items keys values ";
constexpr char kOfLists[] = " copy count index ";
constexpr char kOfTuples[] = " count index ";
constexpr char kOfIntegers[] =
    " as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real "
    "to_bytes ";
constexpr char kOfReals[] = " as_integer_ratio conjugate fromhex hex imag is_integer real ";
// What changes a value: the sandbox hides it.
constexpr char kForbidden[] =
    " append clear extend insert pop popitem remove reverse setdefault sort update ";
constexpr char kOfDictsForbidden[] = " clear pop popitem setdefault update ";

bool Holds(const char* names, const Value& name) {
  if (name.size == 0 || name.size > 20 || std::memchr(name.text, ' ', name.size)) return false;
  char word[24] = " ";
  std::memcpy(word + 1, name.text, name.size);
  std::memcpy(word + 1 + name.size, " ", 2);
  return std::strstr(names, word) != nullptr;
}

// Whether Python finds an attribute of that name before it looks at keys.
enum class Known { kNo, kYes, kHidden };
Known Lookup(const Value& object, const Value& name) {
  const auto known = [&](const char* names, const char* hidden) {
    if (hidden && Holds(hidden, name)) return Known::kHidden;
    return Holds(names, name) ? Known::kYes : Known::kNo;
  };
  switch (object.tag) {
    case Tag::kString:
      return known(kOfStrings, nullptr);
    case Tag::kDict:
      return known(kOfDicts, kOfDictsForbidden);
    case Tag::kInt:
    case Tag::kBool:
      return known(kOfIntegers, nullptr);
    case Tag::kFloat:
      return known(kOfReals, nullptr);
    case Tag::kList:
      if (object.list->kind == ListKind::kTuple) return known(kOfTuples, nullptr);
      if (object.list->kind == ListKind::kList) return known(kOfLists, kForbidden);
      return known("", nullptr);
    default:
      return Known::kNo;
  }
}

bool CanBeKey(const Value& key) {
  if (key.is(Tag::kList) && key.list->kind != ListKind::kTuple) return false;
  return !CannotBeHashed(key) && !key.is(Tag::kMissing);
}

}  // namespace

bool Machine::Truth(const Value& value) const {
  switch (value.tag) {
    case Tag::kMissing:
    case Tag::kUndefined:
    case Tag::kNone:
      return false;
    case Tag::kBool:
    case Tag::kInt:
      return value.integer != 0;
    case Tag::kFloat:
      return value.real != 0;
    case Tag::kString:
      return value.size != 0;
    case Tag::kList:
      return value.list->size != 0 || value.list->kind == ListKind::kGenerator;
    case Tag::kDict:
      return value.dict->size != 0;
    default:
      return true;
  }
}

bool Machine::Items(const Value& value, List** out) {
  List* made = NewList(0);
  if (!made) return false;
  *out = made;
  switch (value.tag) {
    case Tag::kUndefined:
      return true;
    case Tag::kList:
      *made = *value.list;
      made->capacity = made->size;  // never grows in place
      if (value.list->kind == ListKind::kGenerator) value.list->size = 0;
      return Pay(1);
    case Tag::kDict:
      for (uint32_t i = 0; i < value.dict->size; ++i) {
        if (!Append(made, value.dict->items[i].key)) return false;
      }
      return true;
    case Tag::kString: {
      const auto* p = reinterpret_cast<const uint8_t*>(value.text);
      for (const uint8_t* end = p + value.size; p < end;) {
        const uint32_t bytes = text::Decode(p, end).bytes;
        if (!Append(made, Value::String(reinterpret_cast<const char*>(p), bytes))) return false;
        p += bytes;
      }
      return true;
    }
    default:
      return FailType("going over the items", value);
  }
}

bool Machine::Pairs(const Dict& dict, ListKind kind, Value* out) {
  List* list = NewList(dict.size, kind);
  if (!list) return false;
  for (uint32_t i = 0; i < dict.size; ++i) {
    List* pair = NewList(2, ListKind::kTuple);
    if (!pair || !Append(pair, dict.items[i].key) || !Append(pair, dict.items[i].value) ||
        !Append(list, Of(pair)))
      return false;
  }
  *out = Of(list);
  return true;
}

bool Machine::Length(const Value& value, int64_t* out) {
  switch (value.tag) {
    case Tag::kUndefined:
      *out = 0;
      return true;
    case Tag::kString:
      *out = static_cast<int64_t>(Characters(value));
      return Pay(1 + value.size / 16);
    case Tag::kDict:
      *out = value.dict->size;
      return true;
    case Tag::kList:
      *out = value.list->size;
      if (value.list->kind == ListKind::kGenerator)
        return Fail(Code::kInvalidArgument, "a generator has no length");
      return true;
    default:
      return FailType("the length", value);
  }
}

bool Machine::Find(const Dict& dict, const Value& key, Value** out) {
  *out = nullptr;
  if (!Pay(1 + dict.size / 8)) return false;
  if (key.is(Tag::kString)) {
    if (!Pay(key.size / 16)) return false;
    *out = dict.Find(key.text, key.size);
    return true;
  }
  for (uint32_t i = 0; i < dict.size; ++i) {
    bool same = false;
    if (!Equal(dict.items[i].key, key, &same)) return false;
    if (same) {
      *out = &dict.items[i].value;
      return true;
    }
  }
  return true;
}

bool Machine::Set(Dict* dict, const Value& key, const Value& value) {
  if (!CanBeKey(key)) return FailType("a key", key);
  Value* found;
  if (!Find(*dict, key, &found)) return false;
  if (found) {
    *found = value;
    return true;
  }
  if (dict->size == dict->capacity) {
    const uint32_t capacity = dict->capacity ? dict->capacity * 2 : 4;
    Pair* items = New<Pair>(capacity);
    if (!items) return false;
    for (uint32_t i = 0; i < dict->size; ++i) items[i] = dict->items[i];
    dict->items = items;
    dict->capacity = capacity;
  }
  dict->items[dict->size++] = {key, value};
  return true;
}

bool Machine::Attr(const Value& object, const Value& name, Value* out) {
  *out = Value::Undefined(name.text, name.size);
  if (object.is(Tag::kUndefined)) return FailUndefined(object);
  if (object.is(Tag::kLoop)) return LoopAttr(*object.loop, name, out);
  if (object.is(Tag::kMacro) || object.is(Tag::kMethod) || object.is(Tag::kFunction))
    return Fail(Code::kUnsupported, "attributes of a %s are not supported", Name(object));
  const Known known = Lookup(object, name);
  if (known == Known::kYes) *out = Value::Of(Tag::kMethod);
  if (known != Known::kNo || !(object.is(Tag::kDict) || object.is(Tag::kNamespace))) return true;
  Value* found;
  if (!Find(*object.dict, name, &found)) return false;
  if (found) *out = *found;
  return true;
}

bool Machine::LoopAttr(const Loop& loop, const Value& name, Value* out) {
  const int64_t at = loop.next, size = loop.list->size;
  const struct {
    const char* name;
    Value value;
  } known[] = {
      {"index", Value::Int(at)},
      {"index0", Value::Int(at - 1)},
      {"first", Value::Bool(at == 1)},
      {"last", Value::Bool(at == size)},
      {"length", Value::Int(size)},
      {"revindex", Value::Int(size - at + 1)},
      {"revindex0", Value::Int(size - at)},
      {"depth", Value::Int(1)},
      {"depth0", Value::Int(0)},
      {"previtem", at > 1 ? loop.list->items[at - 2] : Value::Undefined("there is no item", 16)},
      {"nextitem", at < size ? loop.list->items[at] : Value::Undefined("there is no item", 16)},
      {"cycle", Value::Of(Tag::kMethod)},
  };
  for (const auto& row : known) {
    if (name.Equals(row.name)) *out = row.value;
  }
  if (name.Equals("changed")) return Fail(Code::kUnsupported, "loop.changed is not supported");
  return true;
}

bool Machine::Item(const Value& object, const Value& key, Value* out) {
  if (object.is(Tag::kUndefined)) return FailUndefined(object);
  const bool is_text = key.is(Tag::kString);
  *out = is_text ? Value::Undefined(key.text, key.size) : Value::Undefined("an item", 7);
  if (object.is(Tag::kDict) && CanBeKey(key)) {
    Value* found;
    if (!Find(*object.dict, key, &found)) return false;
    if (found) {
      *out = *found;
      return true;
    }
  }
  if (is_text) {
    if (key.size >= 2 && key.text[0] == '_' && key.text[1] == '_')
      return Fail(Code::kUnsupported, "the attribute `%.*s` is not supported",
                  static_cast<int>(key.size < 100 ? key.size : 100), key.text);
    if (object.is(Tag::kDict)) {
      if (Lookup(object, key) == Known::kYes) *out = Value::Of(Tag::kMethod);
      return true;
    }
    return Attr(object, key, out);
  }
  if (!key.is_integer()) return true;
  int64_t at = key.integer;
  if (object.is(Tag::kList) && object.list->kind != ListKind::kGenerator &&
      object.list->kind != ListKind::kView) {
    if (at < 0) at += object.list->size;
    if (at >= 0 && at < object.list->size) *out = object.list->items[at];
  } else if (object.is(Tag::kString)) {
    const auto size = static_cast<int64_t>(Characters(object));
    if (at < 0) at += size;
    if (at >= 0 && at < size) {
      const char* p = Place(object, static_cast<size_t>(at));
      const char* end = object.text + object.size;
      *out = Value::String(p, text::Decode(reinterpret_cast<const uint8_t*>(p),
                                           reinterpret_cast<const uint8_t*>(end))
                                  .bytes)
                 .SafeAs(object);
    }
    return Pay(1 + object.size / 16);
  }
  return true;
}

bool Machine::Path(Value object, const Value& path, Value* out) {
  *out = object;
  if (path.is(Tag::kNone)) return true;
  if (!path.is(Tag::kString)) return Item(object, path, out);
  if (std::memchr(path.text, ',', path.size))
    return Fail(Code::kUnsupported, "several attributes at once are not supported");
  for (uint32_t at = 0; at <= path.size;) {
    uint32_t end = at;
    while (end < path.size && path.text[end] != '.') ++end;
    Value part = Value::String(path.text + at, end - at);
    bool is_number = end > at && end - at < 10;
    int64_t number = 0;
    for (uint32_t i = at; i < end && is_number; ++i) {
      is_number = path.text[i] >= '0' && path.text[i] <= '9';
      number = number * 10 + (path.text[i] - '0');
    }
    if (is_number) part = Value::Int(number);
    if (!Item(object, part, out)) return false;
    object = *out;
    at = end + 1;
  }
  return true;
}

bool Machine::Slice(const Value& object, const Value* bounds, Value* out) {
  const bool is_text = object.is(Tag::kString);
  const bool is_list = object.is(Tag::kList) && object.list->kind < ListKind::kView;
  if (!is_text && !is_list) return FailType("a slice", object);
  int64_t size, step = 1;
  if (!Length(object, &size)) return false;
  for (int i = 0; i < 3; ++i) {
    if (!bounds[i].is(Tag::kNone) && !bounds[i].is_integer()) return FailType("a slice", bounds[i]);
  }
  if (!bounds[2].is(Tag::kNone)) step = bounds[2].integer;
  if (step == 0) return Fail(Code::kInvalidArgument, "a slice has a step of 0");
  if (step > kMaxStep) step = kMaxStep;
  if (step < -kMaxStep) step = -kMaxStep;
  const auto bound = [&](const Value& given, int64_t missing) {
    if (given.is(Tag::kNone)) return missing;
    int64_t at = given.integer;
    if (at < 0) at += size;
    const int64_t least = step > 0 ? 0 : -1, most = step > 0 ? size : size - 1;
    return at < least ? least : at > most ? most : at;
  };
  const int64_t begin = bound(bounds[0], step > 0 ? 0 : size - 1);
  const int64_t end = bound(bounds[1], step > 0 ? size : -1);
  if (is_text && step == 1) {
    const char* from = Place(object, static_cast<size_t>(begin));
    const char* to = end > begin ? Place(object, static_cast<size_t>(end)) : from;
    *out = Value::String(from, static_cast<size_t>(to - from)).SafeAs(object);
    return true;
  }
  List* all = object.list;
  if (is_text && !Items(object, &all)) return false;
  List* list = NewList(0, is_text ? ListKind::kList : all->kind);
  if (!list) return false;
  for (int64_t at = begin; step > 0 ? at < end : at > end; at += step) {
    if (!Append(list, all->items[at])) return false;
  }
  *out = Of(list);
  if (is_text && !Join(Value::String("", 0), *out, true, out)) return false;
  *out = out->SafeAs(object);
  return true;
}

}  // namespace smelt::chat
