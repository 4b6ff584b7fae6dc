// What a rendering starts with, how it fails, and where its text goes.
#include <cstdarg>
#include <cstdio>

#include "template/json.h"
#include "template/machine.h"

namespace smelt::chat {

bool Machine::Fail(Code code, const char* format, ...) {
  if (!status_.ok()) return false;
  char text[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  status_ = Error(code, "%s", text);
  return false;
}

bool Machine::TooMuch() {
  return Fail(Code::kUnsupported,
              "stopped: too many steps or too long a text; the template may be hostile");
}

bool Machine::NoMemory() { return Fail(Code::kOutOfMemory, "the scratch memory is too small"); }

const char* Machine::Name(const Value& value) {
  static const char* const kNames[] = {"missing", "undefined", "none",     "boolean", "integer",
                                       "float",   "string",    "list",     "mapping", "namespace",
                                       "macro",   "loop",      "function", "method"};
  return kNames[static_cast<int>(value.tag)];
}

bool Machine::FailUndefined(const Value& value) {
  return Fail(Code::kInvalidArgument, "'%.*s' is undefined",
              static_cast<int>(value.size < 100 ? value.size : 100), value.text);
}

bool Machine::FailType(const char* what, const Value& value) {
  if (value.is(Tag::kUndefined)) return FailUndefined(value);
  return Fail(Code::kInvalidArgument, "%s is not possible with a %s", what, Name(value));
}

List* Machine::NewList(uint32_t capacity, ListKind kind) {
  List* made = New<List>(1);
  if (!made) return nullptr;
  made->items = New<Value>(capacity);
  if (!made->items) return nullptr;
  made->capacity = capacity;
  made->kind = kind;
  return made;
}

bool Machine::Append(List* list, const Value& value) {
  if (list->size == list->capacity) {
    const uint32_t capacity = list->capacity ? list->capacity * 2 : 4;
    Value* items = New<Value>(capacity);
    if (!items) return false;
    for (uint32_t i = 0; i < list->size; ++i) items[i] = list->items[i];
    list->items = items;
    list->capacity = capacity;
  }
  list->items[list->size++] = value;
  return Pay(1);
}

bool Machine::Loaded(const char* json, size_t bytes) {
  most_steps_ = options_.steps + kStepsPerByte * bytes;
  most_bytes_ += 8 * bytes;
  if (most_bytes_ > 0x7fffffff) most_bytes_ = 0x7fffffff;
  stack_ = New<Value>(kMostStack);
  variables_ = New<Value>(tables_.variable_count + 1);
  active_ = New<uint32_t>(tables_.macro_count + 1);
  if (!stack_ || !variables_ || !active_) return false;
  const Value text = Constant(tables_.header->given);
  Value defaults, given;
  if (!JsonReader(this, text.text, text.size).Read(&defaults)) return false;
  if (!JsonReader(this, json, bytes).Read(&given)) return false;
  if (!given.is(Tag::kDict) || !defaults.is(Tag::kDict))
    return Fail(Code::kInvalidArgument, "the JSON is a %s, wants an object of variables",
                Name(given));
  given_ = given.dict;
  defaults_ = defaults.dict;
  return !options_.prepare || Prepare(given_);
}

bool Machine::Prepare(Dict* given) {
  Value* messages = given->Find("messages", 8);
  if (!messages || !messages->is(Tag::kList) || messages->list->size == 0)
    return Fail(Code::kInvalidArgument, "a chat needs a list of messages, at least one");
  for (uint32_t i = 0; i < messages->list->size; ++i) {
    if (!PrepareMessage(&messages->list->items[i])) return false;
  }
  return true;
}

// Without its null values, its reasoning under the names that templates read.
bool Machine::PrepareMessage(Value* message) {
  if (!message->is(Tag::kDict))
    return Fail(Code::kInvalidArgument, "a message is a %s, wants role and content",
                Name(*message));
  Dict* kept = New<Dict>(1);
  if (!kept) return false;
  const Dict& all = *message->dict;
  const Value* reason = nullptr;
  for (const char* key : {"reasoning", "thinking", "reasoning_content"}) {
    const Value* found = all.Find(key, std::strlen(key));
    if (found && !found->is(Tag::kNone)) reason = found;
  }
  if (reason && !Set(kept, Value::String("thinking", 8), *reason)) return false;
  for (uint32_t i = 0; i < all.size; ++i) {
    if (all.items[i].value.is(Tag::kNone)) continue;
    if (!Set(kept, all.items[i].key, all.items[i].value)) return false;
  }
  if (reason && !Set(kept, Value::String("reasoning_content", 17), *reason)) return false;
  Value* content = kept->Find("content", 7);
  if (content && content->is(Tag::kList) && tables_.header->flags & kJoinParts &&
      !JoinParts(content))
    return false;
  message->dict = kept;
  return true;
}

bool Machine::JoinParts(Value* content) {
  Builder text(this);
  for (uint32_t i = 0; i < content->list->size; ++i) {
    const Value& part = content->list->items[i];
    const Value* found = part.is(Tag::kDict) ? part.dict->Find("text", 4) : nullptr;
    if (!found || !found->is(Tag::kString))
      return Fail(Code::kInvalidArgument,
                  "the chat template reads text only, a message has other parts");
    text.Add(*found);
  }
  return text.Finish(content);
}

Value Machine::Resolve(uint32_t variable) {
  static const char* const kNames[kFunctions] = {"range", "namespace", "dict", "raise_exception",
                                                 "strftime_now"};
  const Value name = Constant(tables_.variables[variable]);
  for (const Dict* dict : {given_, defaults_}) {
    if (const Value* found = dict->Find(name.text, name.size)) return *found;
  }
  for (uint32_t i = 0; i < kFunctions; ++i) {
    if (name.Equals(kNames[i])) return Value::Int(i, Tag::kFunction);
  }
  return {};
}

// ---- output ----

bool Machine::Emit(const char* text, size_t bytes) {
  if (bytes == 0) return true;
  if (!Pay(1 + bytes / 16)) return false;
  if (!capture_) {
    if (sink_->count < sink_->capacity) {
      const size_t room = sink_->capacity - sink_->count;
      std::memcpy(sink_->text + sink_->count, text, bytes < room ? bytes : room);
    }
    sink_->count += bytes;
    return sink_->count <= most_bytes_ || TooMuch();
  }
  capture_->bytes += bytes;
  if (capture_->bytes > most_bytes_) return TooMuch();
  Chunk* last = capture_->last;
  if (!last || last->size - last->used < bytes) {
    size_t size = last ? 2 * last->size : 240;
    if (size < bytes) size = bytes;
    auto* made = static_cast<Chunk*>(arena_.Take(sizeof(Chunk) + size));
    if (!made) return NoMemory();
    *made = {nullptr, 0, size};
    (last ? last->next : capture_->first) = made;
    capture_->last = last = made;
  }
  std::memcpy(last->bytes() + last->used, text, bytes);
  last->used += bytes;
  return true;
}

bool Machine::Write(const Value& value) {
  if (value.is(Tag::kString)) return Emit(value.text, value.size);
  Builder made(this);
  Value text;
  if (!Str(value, &made) || !made.Finish(&text)) return false;
  if (capture_) return Emit(text.text, text.size);
  if (!Emit(text.text, text.size)) return false;
  made.Drop();
  return true;
}

bool Machine::BeginCapture() {
  Capture* made = New<Capture>(1);
  if (!made) return false;
  *made = {capture_, nullptr, nullptr, 0};
  capture_ = made;
  return true;
}

bool Machine::EndCapture(Value* out) {
  if (!capture_ || (frame_ && capture_ == frame_->capture))
    return Fail(Code::kBadFile, "the code ends a capture that never began");
  const Capture* done = capture_;
  capture_ = done->outer;
  if (done->first && done->first == done->last) {
    *out = Value::String(done->first->bytes(), done->first->used);
    return true;
  }
  Builder text(this);
  for (Chunk* chunk = done->first; chunk; chunk = chunk->next)
    text.Add(chunk->bytes(), chunk->used);
  return text.Finish(out);
}

}  // namespace smelt::chat
