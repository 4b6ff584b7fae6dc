// Filters and tests.
#include <cmath>

#include "template/machine.h"
#include "text/utf8.h"

namespace smelt::chat {

bool Machine::Apply(Filter filter, const Value& value, const Value* args, uint32_t count,
                    Value* out) {
  switch (filter) {
    case Filter::kDefault:
      *out = value.is(Tag::kUndefined) || (Truth(args[1]) && !Truth(value)) ? args[0] : value;
      return true;
    case Filter::kToJson:
      return ToJson(value, args, out);
    case Filter::kInt:
      return ToInt(value, args[0], out);
    case Filter::kFloat:
      return ToFloat(value, args[0], out);
    case Filter::kAbs:
      if (!value.is_number()) return FailType("a size", value);
      if (value.is(Tag::kFloat)) {
        *out = Value::Float(std::fabs(value.real));
        return true;
      }
      return Negate(value, value.integer < 0, out);
    case Filter::kLength: {
      int64_t size;
      if (!Length(value, &size)) return false;
      *out = Value::Int(size);
      return true;
    }
    case Filter::kTrim:
    case Filter::kUpper:
    case Filter::kLower:
    case Filter::kCapitalize:
    case Filter::kTitle:
    case Filter::kReplace:
    case Filter::kIndent:
    case Filter::kString:
    case Filter::kSafe:
      return TextFilter(filter, value, args, out);
    default:
      return ListFilter(filter, value, args, count, out);
  }
}

bool Machine::TextFilter(Filter filter, const Value& value, const Value* args, Value* out) {
  Value text;
  if (filter == Filter::kIndent) return Indent(value, args, out);
  if (!Text(value, &text)) return false;
  switch (filter) {
    case Filter::kTrim:
      if (!args[0].is(Tag::kNone) && !args[0].is(Tag::kString)) return FailType("trim", args[0]);
      if (!Pay(uint64_t{text.size} * (1 + args[0].size) / 16)) return false;
      *out = Stripped(text, args[0].is(Tag::kNone) ? nullptr : args, true, true).SafeAs(text);
      return true;
    case Filter::kUpper:
    case Filter::kLower:
    case Filter::kCapitalize: {
      const Method how = filter == Filter::kUpper   ? Method::kUpper
                         : filter == Filter::kLower ? Method::kLower
                                                    : Method::kCapitalize;
      if (!Cased(text, how, out)) return false;
      *out = out->SafeAs(text);
      return true;
    }
    case Filter::kReplace: {
      Value old, by;
      if (!args[2].is(Tag::kNone) && !args[2].is_integer()) return FailType("replace", args[2]);
      return Text(args[0], &old) && Text(args[1], &by) &&
             Replace(text, old, by, args[2].is(Tag::kNone) ? -1 : args[2].integer, out);
    }
    case Filter::kTitle: {  // jinja2's own idea of words
      Builder made(this);
      const auto* p = reinterpret_cast<const uint8_t*>(text.text);
      const auto is_border = [&](size_t at, uint32_t* bytes) {
        *bytes = text::Decode(p + at, p + text.size).bytes;
        const Value one = Value::String(text.text + at, *bytes);
        return (one.size == 1 && std::strchr("-({[<", *one.text)) ||
               Stripped(one, nullptr, true, false).size == 0;
      };
      uint32_t bytes = 0;
      for (size_t at = 0; at < text.size;) {
        size_t end = at;
        const bool is_word = !is_border(at, &bytes);
        const uint32_t first = bytes;
        while (end < text.size && is_border(end, &bytes) != is_word) end += bytes;
        const Value rest = Value::String(text.text + at + first, end - at - first);
        CaseInto(text, at, at + first, 0, &made);
        CaseInto(rest, 0, rest.size, 1, &made);
        at = end;
      }
      return Pay(text.size) && made.Finish(out);
    }
    default:
      *out = text;
      out->is_safe |= filter == Filter::kSafe;
      return true;
  }
}

bool Machine::ListFilter(Filter filter, const Value& value, const Value* args, uint32_t count,
                         Value* out) {
  List* items;
  if (filter >= Filter::kMap && filter <= Filter::kRejectAttr && !Truth(value)) {
    // jinja2 does not look closer at what is false.
    List* none = NewList(0, ListKind::kGenerator);
    *out = Of(none);
    return none != nullptr;
  }
  switch (filter) {
    case Filter::kJoin: {
      Value with, all = value;
      if (!Text(args[0], &with)) return false;
      if (!args[1].is(Tag::kNone)) {
        const Value by[2] = {args[1], Value::None()};
        if (!MapAttribute(value, by, &all)) return false;
      }
      return Join(with, all, false, out);
    }
    case Filter::kFirst:
      *out = Value::Undefined("the first item", 14);
      if (value.is(Tag::kList) && value.list->kind == ListKind::kGenerator) {
        if (value.list->size == 0) return true;
        *out = *value.list->items++;
        --value.list->size;
        return true;
      }
      if (!Items(value, &items)) return false;
      if (items->size) *out = items->items[0];
      return true;
    case Filter::kLast:
    case Filter::kReverse: {
      if (value.is_safe && filter == Filter::kReverse) return FailSafe();
      const bool is_generator = value.is(Tag::kList) && value.list->kind == ListKind::kGenerator;
      if (filter == Filter::kLast && is_generator) return FailType("the last item", value);
      if (!Items(value, &items)) return false;
      *out = Value::Undefined("the last item", 13);
      if (filter == Filter::kLast) {
        if (items->size) *out = items->items[items->size - 1];
        out->is_safe |= value.is_safe;
        return true;
      }
      List* list = NewList(items->size, is_generator ? ListKind::kList : ListKind::kGenerator);
      if (!list) return false;
      for (uint32_t i = items->size; i-- > 0;) {
        if (!Append(list, items->items[i])) return false;
      }
      *out = Of(list);
      return !value.is(Tag::kString) || Join(Value::String("", 0), *out, true, out);
    }
    case Filter::kItems:
      if (value.is(Tag::kUndefined)) {
        List* none = NewList(0, ListKind::kGenerator);
        *out = Of(none);
        return none != nullptr;
      }
      if (!value.is(Tag::kDict)) return FailType("items", value);
      return Pairs(*value.dict, ListKind::kGenerator, out);
    case Filter::kList:
      if (!Items(value, &items)) return false;
      items->kind = ListKind::kList;
      *out = Of(items);
      return true;
    case Filter::kMap:
      return Map(value, args, count, out);
    case Filter::kMapAttribute:
      return MapAttribute(value, args, out);
    case Filter::kSelect:
    case Filter::kReject:
    case Filter::kSelectAttr:
    case Filter::kRejectAttr:
      return Select(filter, value, args, count, out);
    case Filter::kSort:
      return Sort(value, args[0], args[1], args[2], out);
    case Filter::kDictSort:
      return DictSort(value, args, out);
    case Filter::kUnique:
      return Unique(value, args, out);
    case Filter::kMin:
    case Filter::kMax:
      return Extreme(value, args, filter == Filter::kMax, out);
    case Filter::kSum:
      return Sum(value, args, out);
    default:
      return Fail(Code::kBadFile, "the code has an unknown filter");
  }
}

bool Machine::Indent(const Value& value, const Value* args, Value* out) {
  if (!value.is(Tag::kString)) return FailType("an indent", value);
  if (value.is_safe) return FailSafe();
  Value width = args[0], lines;
  if (!width.is(Tag::kString)) {
    if (!width.is_integer()) return FailType("an indent", width);
    if (!Repeat(Value::String(" ", 1), width.integer, &width)) return false;
  }
  const bool first = Truth(args[1]), blank = Truth(args[2]);
  Value text;
  if (!Join2(value, Value::String("\n", 1), &text) || !SplitLines(text, false, &lines))
    return false;
  Builder made(this);
  if (first) made.Add(width);
  for (uint32_t i = 0; i < lines.list->size; ++i) {
    const Value& line = lines.list->items[i];
    if (i) made.Add('\n');
    if (i && (blank || line.size)) made.Add(width);
    made.Add(line);
  }
  return made.Finish(out);
}

}  // namespace smelt::chat
