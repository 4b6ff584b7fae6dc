// Methods of strings, mappings and loops.
#include "template/machine.h"
#include "text/utf8.h"

namespace smelt::chat {

bool Machine::CallMethod(uint32_t index, uint32_t name, uint32_t count) {
  Value* top = Top(count + 1);
  if (!top) return false;
  const auto method = static_cast<Method>(index);
  Value made;
  if (top->is(Tag::kLoop) && method == Method::kCycle) {
    if (count == 0) return Fail(Code::kInvalidArgument, "no items for cycling given");
    made = top[1 + (top->loop->next + count - 1) % count];
  } else if (top->is(Tag::kString) && method < Method::kItems) {
    // What stays a string stays safe; the others are rare.
    const bool is_kept = method < Method::kSplit || method == Method::kUpper ||
                         method == Method::kLower || method == Method::kTitle ||
                         method == Method::kCapitalize;
    const bool is_made = method == Method::kReplace || method == Method::kJoin ||
                         method == Method::kSplit || method == Method::kRSplit ||
                         method == Method::kSplitLines || method == Method::kRemovePrefix ||
                         method == Method::kRemoveSuffix;
    if (top->is_safe && is_made) return FailSafe();
    if (!StringMethod(method, *top, top + 1, &made)) return false;
    if (is_kept) made = made.SafeAs(*top);
  } else if (top->is(Tag::kList) && method == Method::kCount && top->list->kind < ListKind::kView) {
    int64_t found = 0;
    for (uint32_t i = 0; i < top->list->size; ++i) {
      bool same;
      if (!Equal(top->list->items[i], top[1], &same)) return false;
      found += same;
    }
    made = Value::Int(found);
  } else if (top->is(Tag::kDict) && method >= Method::kItems && method != Method::kCycle) {
    if (!DictMethod(method, *top, top + 1, &made)) return false;
  } else {
    if (top->is(Tag::kUndefined)) return FailUndefined(*top);
    return Fail(Code::kInvalidArgument, "a %s has no method `%.*s`", Name(*top),
                static_cast<int>(tables_.text_size(name)), tables_.text(name));
  }
  top_ -= count + 1;
  return Push(made);
}

bool Machine::DictMethod(Method method, const Value& self, const Value* args, Value* out) {
  const Dict& dict = *self.dict;
  if (method == Method::kItems) return Pairs(dict, ListKind::kView, out);
  if (method == Method::kGet) {
    if (CannotBeHashed(args[0])) return FailType("a key", args[0]);
    Value* found;
    if (!Find(dict, args[0], &found)) return false;
    *out = found ? *found : args[1];
    return true;
  }
  List* list = NewList(dict.size, ListKind::kView);
  if (!list) return false;
  for (uint32_t i = 0; i < dict.size; ++i) {
    if (!Append(list, method == Method::kKeys ? dict.items[i].key : dict.items[i].value))
      return false;
  }
  *out = Of(list);
  return true;
}

namespace {

// Where one string lies in another, from the left or the right; -1 when it does not.
int64_t FindText(const Value& all, const Value& one, bool from_right) {
  if (one.size > all.size) return -1;
  const uint32_t last = all.size - one.size;
  for (uint32_t i = 0; i <= last; ++i) {
    const uint32_t at = from_right ? last - i : i;
    if (one.size == 0 || std::memcmp(all.text + at, one.text, one.size) == 0) return at;
  }
  return -1;
}

}  // namespace

bool Machine::StringMethod(Method method, const Value& self, const Value* args, Value* out) {
  if (!Pay(1 + self.size / 8)) return false;
  const auto needs_text = [&](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      if (!args[i].is(Tag::kString)) return FailType("a method of a string", args[i]);
    }
    return true;
  };
  switch (method) {
    case Method::kStrip:
    case Method::kLStrip:
    case Method::kRStrip:
      if (!args[0].is(Tag::kNone) && !needs_text(1)) return false;
      if (!Pay(uint64_t{self.size} * args[0].size / 16)) return false;
      *out = Stripped(self, args[0].is(Tag::kNone) ? nullptr : args, method != Method::kRStrip,
                      method != Method::kLStrip);
      return true;
    case Method::kSplit:
    case Method::kRSplit:
      if (!args[1].is_integer()) return FailType("splitting", args[1]);
      return Split(self, args[0], args[1].integer, method == Method::kRSplit, out);
    case Method::kSplitLines:
      return SplitLines(self, Truth(args[0]), out);
    case Method::kStartsWith:
    case Method::kEndsWith: {
      const bool is_list = args[0].is(Tag::kList) && args[0].list->kind == ListKind::kTuple;
      const Value* words = is_list ? args[0].list->items : args;
      *out = Value::Bool(false);
      for (uint32_t i = 0; i < (is_list ? args[0].list->size : 1); ++i) {
        if (!words[i].is(Tag::kString)) return FailType("a method of a string", words[i]);
        if (!Pay(1 + words[i].size / 16)) return false;
        const uint32_t at = method == Method::kEndsWith ? self.size - words[i].size : 0;
        if (words[i].size <= self.size &&
            words[i].SameText(Value::String(self.text + at, words[i].size)))
          *out = Value::Bool(true);
      }
      return true;
    }
    case Method::kUpper:
    case Method::kLower:
    case Method::kTitle:
    case Method::kCapitalize:
      return Cased(self, method, out);
    case Method::kReplace:
      if (!args[2].is_integer()) return FailType("replace", args[2]);
      return needs_text(2) && Replace(self, args[0], args[1], args[2].integer, out);
    case Method::kJoin:
      return Join(self, args[0], true, out);
    case Method::kFind:
    case Method::kRFind:
    case Method::kIndex: {
      if (!needs_text(1) || !Pay(uint64_t{self.size} * (1 + args[0].size / 64))) return false;
      const int64_t at = FindText(self, args[0], method == Method::kRFind);
      if (at < 0 && method == Method::kIndex)
        return Fail(Code::kInvalidArgument, "substring not found");
      const Value before = Value::String(self.text, static_cast<size_t>(at < 0 ? 0 : at));
      *out = Value::Int(at < 0 ? -1 : static_cast<int64_t>(Characters(before)));
      return true;
    }
    case Method::kCount: {
      if (!needs_text(1) || !Pay(uint64_t{self.size} * (1 + args[0].size / 64))) return false;
      int64_t count = 0;
      if (args[0].size == 0) count = static_cast<int64_t>(Characters(self)) + 1;
      for (uint32_t at = 0; args[0].size && self.size - at >= args[0].size;) {
        const bool same = std::memcmp(self.text + at, args[0].text, args[0].size) == 0;
        count += same;
        at += same ? args[0].size : 1;
      }
      *out = Value::Int(count);
      return true;
    }
    case Method::kRemovePrefix:
    case Method::kRemoveSuffix: {
      if (!needs_text(1)) return false;
      const uint32_t cut = args[0].size, left = self.size - cut;
      *out = self;
      if (cut > self.size) return true;
      const bool is_prefix = method == Method::kRemovePrefix;
      if (args[0].SameText(Value::String(self.text + (is_prefix ? 0 : left), cut)))
        *out = Value::String(self.text + (is_prefix ? cut : 0), left);
      return true;
    }
    case Method::kIsSpace:
      *out = Value::Bool(self.size && Stripped(self, nullptr, true, false).size == 0);
      return true;
    default: {  // isdigit
      bool all = self.size != 0;
      const auto* p = reinterpret_cast<const uint8_t*>(self.text);
      for (const uint8_t* end = p + self.size; p < end && all;) {
        const text::Char c = text::Decode(p, end);
        all = Properties(c.code) & kDigit;
        p += c.bytes;
      }
      *out = Value::Bool(all);
      return true;
    }
  }
}

}  // namespace smelt::chat
