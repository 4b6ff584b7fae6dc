// Macros and global functions.
#include <ctime>

#include "template/machine.h"

namespace smelt::chat {

bool Machine::Call(uint32_t args, uint32_t pairs) {
  const uint32_t count = 1 + args + 2 * pairs;
  Value* top = Top(count);
  if (!top) return false;
  const Value called = *top;
  if (called.is(Tag::kMacro)) {
    top_ -= count;
    return CallMacro(static_cast<uint32_t>(called.integer), top + 1, args, pairs);
  }
  if (!called.is(Tag::kFunction)) return FailType("a call", called);
  Value made;
  if (!CallFunction(static_cast<Function>(called.integer), top + 1, args, pairs, &made))
    return false;
  top_ -= count;
  return Push(made);
}

bool Machine::CallMacro(uint32_t index, Value* args, uint32_t count, uint32_t pairs) {
  const MacroRecord& macro = tables_.macros[index];
  if (++calls_ > kMostCalls) return Fail(Code::kUnsupported, "macros call each other too deeply");
  if (count > macro.arguments)
    return Fail(Code::kInvalidArgument, "macro `%.*s` takes %u arguments, %u are given",
                static_cast<int>(tables_.text_size(macro.name)), tables_.text(macro.name),
                macro.arguments, count);
  Frame* frame = New<Frame>(1);
  Value* kept = active_[index] ? New<Value>(macro.variables) : nullptr;
  Value* given = New<Value>(macro.arguments);
  if (!frame || !given || (active_[index] && !kept)) return false;
  for (uint32_t i = 0; i < count; ++i) given[i] = args[i];
  const uint32_t* variables = tables_.arguments + macro.first_argument;
  for (uint32_t i = 0; i < pairs; ++i) {
    const Value &name = args[count + 2 * i], &value = args[count + 2 * i + 1];
    uint32_t at = 0;
    while (at < macro.arguments && !Constant(tables_.variables[variables[at]]).SameText(name)) ++at;
    if (!name.is(Tag::kString) || at == macro.arguments || !given[at].is(Tag::kMissing))
      return Fail(Code::kInvalidArgument, "macro `%.*s` has no place for an argument",
                  static_cast<int>(tables_.text_size(macro.name)), tables_.text(macro.name));
    given[at] = value;
  }
  Value* owned = variables_ + macro.first_variable;
  for (uint32_t i = 0; i < macro.variables; ++i) {
    if (kept) kept[i] = owned[i];
    owned[i] = {};
  }
  for (uint32_t i = 0; i < macro.arguments; ++i) variables_[variables[i]] = given[i];
  *frame = {frame_, capture_, loop_, kept, index, at_, base_};
  frame_ = frame;
  base_ = top_;
  ++active_[index];
  at_ = macro.entry;
  return Pay(1 + macro.variables / 4) && BeginCapture();
}

bool Machine::Return() {
  Value text;
  if (!frame_) return Fail(Code::kBadFile, "the code returns from no macro");
  const Frame& frame = *frame_;
  if (!EndCapture(&text)) return false;
  if (capture_ != frame.capture || top_ != base_)
    return Fail(Code::kBadFile, "the code leaves something behind in a macro");
  const MacroRecord& macro = tables_.macros[frame.macro];
  if (frame.kept) {
    for (uint32_t i = 0; i < macro.variables; ++i)
      variables_[macro.first_variable + i] = frame.kept[i];
  }
  --active_[frame.macro];
  --calls_;
  loop_ = frame.loop;
  at_ = frame.back;
  base_ = frame.stack;
  frame_ = frame.outer;
  return Push(text);
}

bool Machine::CallFunction(Function function, Value* args, uint32_t count, uint32_t pairs,
                           Value* out) {
  switch (function) {
    case Function::kNamespace:
      return MakeDict(args, count, pairs, Tag::kNamespace, out);
    case Function::kDict:
      return MakeDict(args, count, pairs, Tag::kDict, out);
    case Function::kRange:
      if (!pairs) return Range(args, count, out);
      break;
    case Function::kRaise: {
      if (count + pairs != 1) break;
      Value text;
      if (!Text(args[pairs ? 1 : 0], &text)) return false;
      return Fail(Code::kInvalidArgument, "refuses the conversation: %.*s",
                  static_cast<int>(text.size < 400 ? text.size : 400), text.text);
    }
    case Function::kNow:
      if (count + pairs == 1) return Now(args[pairs ? 1 : 0], out);
      break;
  }
  return Fail(Code::kInvalidArgument, "a function is called with %u arguments", count + pairs);
}

bool Machine::MakeDict(const Value* args, uint32_t count, uint32_t pairs, Tag tag, Value* out) {
  *out = Value::Of(tag);
  Dict* dict = out->dict = New<Dict>(1);
  if (!dict) return false;
  if (count > 1) return Fail(Code::kInvalidArgument, "a mapping is made of %u values", count);
  if (count) {
    if (!args->is(Tag::kDict))
      return Fail(Code::kUnsupported, "a mapping made of a %s is not supported", Name(*args));
    for (uint32_t i = 0; i < args->dict->size; ++i) {
      if (!Set(dict, args->dict->items[i].key, args->dict->items[i].value)) return false;
    }
    ++args;
  }
  for (uint32_t i = 0; i < pairs; ++i) {
    if (!Set(dict, args[2 * i], args[2 * i + 1])) return false;
  }
  return true;
}

bool Machine::Range(const Value* args, uint32_t count, Value* out) {
  int64_t bounds[3] = {0, 0, 1};
  if (count == 0 || count > 3)
    return Fail(Code::kInvalidArgument, "range is called with %u arguments", count);
  for (uint32_t i = 0; i < count; ++i) {
    if (!args[i].is_integer()) return FailType("a range", args[i]);
    bounds[count == 1 ? 1 : i] = args[i].integer;
  }
  const int64_t step = bounds[2];
  if (step == 0) return Fail(Code::kInvalidArgument, "a range has a step of 0");
  List* list = NewList(0, ListKind::kRange);
  if (!list) return false;
  for (int64_t at = bounds[0]; step > 0 ? at < bounds[1] : at > bounds[1];) {
    if (list->size >= kMostRange)
      return Fail(Code::kUnsupported, "a range has more than %lld items",
                  static_cast<long long>(kMostRange));
    if (!Append(list, Value::Int(at))) return false;
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  *out = Of(list);
  return true;
}

bool Machine::Now(const Value& format, Value* out) {
  char pattern[260], text[2048];
  if (!format.is(Tag::kString)) return FailType("a date format", format);
  if (format.size > 256) return Fail(Code::kUnsupported, "a date format that is too long");
  if (format.size == 0) {
    *out = format;
    return true;
  }
  for (uint32_t i = 0; i < format.size; ++i) {
    if (format.text[i] == 0) return Fail(Code::kUnsupported, "a date format with a zero");
    if (format.text[i] != '%') continue;
    const char kind = ++i < format.size ? format.text[i] : 0;
    if (!kind || !std::strchr("aAbBcdHIjmMpSUwWxXyY%eFTDRkl-", kind))
      return Fail(Code::kUnsupported, "a date format with `%%%c`", kind ? kind : ' ');
    if (kind == '-' && (++i >= format.size || !std::strchr("dHIjmMS", format.text[i])))
      return Fail(Code::kUnsupported, "a date format with `%%-`");
  }
  std::memcpy(pattern, format.text, format.size);
  pattern[format.size] = 0;
  const auto now = static_cast<std::time_t>(options_.now < 0 ? std::time(nullptr) : options_.now);
  std::tm parts;
  if (!::localtime_r(&now, &parts)) return Fail(Code::kIo, "there is no local time");
  const size_t bytes = std::strftime(text, sizeof text, pattern, &parts);
  Builder made(this);
  made.Add(text, bytes);
  return made.Finish(out);
}

}  // namespace smelt::chat
