// Runs a compiled template once. Functions give false after an error, which status() then holds.
#pragma once

#include <new>

#include "template/template.h"
#include "template/value.h"

namespace smelt::chat {

constexpr uint32_t kMostStack = 1024;
constexpr uint32_t kMostDepth = 64;  // of values in values, and of loops in loops
constexpr uint32_t kMostCalls = 64;  // of macros in macros
constexpr int64_t kMostRange = 100000;
constexpr int64_t kMaxStep = int64_t{1} << 32;  // of a slice; longer than any string
constexpr uint64_t kWritten = 1 << 20;  // bytes of output or of one string, and 8 per byte of JSON
constexpr uint64_t kStepsPerByte = 64;  // of JSON

class Machine {
 public:
  Machine(const Tables& tables, const RenderOptions& options, Arena arena, TextSink* sink)
      : tables_(tables), options_(options), arena_(arena), sink_(sink) {}

  Status Run(const char* json, size_t bytes);

 private:
  friend class Builder;
  friend class JsonReader;

  struct Chunk {
    Chunk* next;
    size_t used, size;
    char* bytes() { return reinterpret_cast<char*>(this + 1); }
  };
  struct Capture {
    Capture* outer;
    Chunk* first;
    Chunk* last;
    size_t bytes;
  };
  struct Frame {  // what is taken up again behind a macro
    Frame* outer;
    Capture* capture;
    Loop* loop;
    Value* kept;
    uint32_t macro, back, stack;
  };

  // start.cc
  bool Loaded(const char* json, size_t bytes);
  bool Prepare(Dict* given);
  bool PrepareMessage(Value* message);
  bool JoinParts(Value* content);
  Value Resolve(uint32_t variable);
  bool Emit(const char* text, size_t bytes);
  bool Write(const Value& value);
  bool BeginCapture();
  bool EndCapture(Value* out);

  // machine.cc
  bool Steps();
  bool Step(const Instruction& now);
  bool Jumps(const Instruction& now);
  bool Loops(const Instruction& now);
  bool Makes(const Instruction& now);

  // calls.cc
  bool Call(uint32_t args, uint32_t pairs);
  bool CallMacro(uint32_t macro, Value* args, uint32_t count, uint32_t pairs);
  bool Return();
  bool CallFunction(Function function, Value* args, uint32_t count, uint32_t pairs, Value* out);
  bool Range(const Value* args, uint32_t count, Value* out);
  bool MakeDict(const Value* args, uint32_t count, uint32_t pairs, Tag tag, Value* out);
  bool Now(const Value& format, Value* out);

  // methods.cc
  bool CallMethod(uint32_t method, uint32_t name, uint32_t args);
  bool StringMethod(Method method, const Value& self, const Value* args, Value* out);
  bool DictMethod(Method method, const Value& self, const Value* args, Value* out);

  // values.cc
  bool Truth(const Value& value) const;
  bool Items(const Value& value, List** out);
  bool Pairs(const Dict& dict, ListKind kind, Value* out);
  bool Length(const Value& value, int64_t* out);
  bool Attr(const Value& object, const Value& name, Value* out);
  bool LoopAttr(const Loop& loop, const Value& name, Value* out);
  bool Item(const Value& object, const Value& key, Value* out);
  bool Path(Value object, const Value& path, Value* out);
  bool Slice(const Value& object, const Value* bounds, Value* out);
  bool Find(const Dict& dict, const Value& key, Value** out);
  bool Set(Dict* dict, const Value& key, const Value& value);

  // operators.cc
  bool Equal(const Value& a, const Value& b, bool* out, uint32_t depth = 0);
  bool Order(const Value& a, const Value& b, int* out, uint32_t depth = 0);
  bool Compare(Comparison how, const Value& a, const Value& b, bool* out);
  bool Contains(const Value& all, const Value& one, bool* out);
  bool Combine(Binary how, const Value& a, const Value& b, Value* out);
  bool Join2(const Value& a, const Value& b, Value* out);
  bool Repeat(const Value& a, int64_t times, Value* out);
  bool Integers(Binary how, int64_t a, int64_t b, Value* out);
  bool Reals(Binary how, double a, double b, Value* out);
  bool Negate(const Value& a, bool minus, Value* out);

  // strings.cc
  size_t Characters(const Value& text) const;
  const char* Place(const Value& text, size_t character) const;
  uint32_t Properties(uint32_t code) const;
  bool IsHidden(uint32_t code) const { return Properties(code) & kHidden; }
  bool Case(const Value& text, int rule, Value* out);  // 0 upper, 1 lower
  bool Cased(const Value& text, Method how, Value* out);
  void CaseInto(const Value& text, size_t begin, size_t end, int rule, class Builder* out);
  bool IsFinalSigma(const Value& text, size_t at) const;
  Value Stripped(const Value& text, const Value* chars, bool left, bool right);
  bool Split(const Value& text, const Value& by, int64_t most, bool from_right, Value* out);
  bool SplitLines(const Value& text, bool keep_ends, Value* out);
  bool Replace(const Value& text, const Value& old, const Value& by, int64_t most, Value* out);
  bool Join(const Value& with, const Value& items, bool only_strings, Value* out);

  // print.cc
  bool Text(const Value& value, Value* out);  // str()
  bool Str(const Value& value, class Builder* out, uint32_t depth = 0);
  bool Repr(const Value& value, class Builder* out, uint32_t depth);
  bool ReprText(const Value& text, class Builder* out);
  void Real(double value, class Builder* out);
  struct JsonStyle {
    Value item, colon, indent;
    bool ascii, sorted;
  };
  bool ToJson(const Value& value, const Value* args, Value* out);
  bool Json(const Value& value, const JsonStyle& style, uint32_t depth, class Builder* out);
  bool JsonKey(const Value& key, class Builder* out);
  void JsonText(const Value& text, bool ascii, class Builder* out);

  // filters.cc
  bool Apply(Filter filter, const Value& value, const Value* args, uint32_t count, Value* out);
  bool TextFilter(Filter filter, const Value& value, const Value* args, Value* out);
  bool ListFilter(Filter filter, const Value& value, const Value* args, uint32_t count, Value* out);
  bool Indent(const Value& value, const Value* args, Value* out);

  // sequences.cc
  bool Select(Filter filter, const Value& value, const Value* args, uint32_t count, Value* out);
  bool Map(const Value& value, const Value* args, uint32_t count, Value* out);
  bool MapAttribute(const Value& value, const Value* args, Value* out);
  bool Sort(const Value& value, const Value& reverse, const Value& cased, const Value& attribute,
            Value* out);
  bool SortKeys(const List& items, bool cased, const Value& attribute, Value** out);
  bool DictSort(const Value& value, const Value* args, Value* out);
  bool Unique(const Value& value, const Value* args, Value* out);
  bool Extreme(const Value& value, const Value* args, bool most, Value* out);
  bool Sum(const Value& value, const Value* args, Value* out);

  // tests.cc
  bool Ask(Test test, const Value& value, const Value* args, bool* out);
  bool ToInt(const Value& value, const Value& missing, Value* out);
  bool ToFloat(const Value& value, const Value& missing, Value* out);

  // Memory and limits.
  template <typename T>
  T* New(size_t count) {
    if (count > (size_t{1} << 32)) return NoMemory(), nullptr;
    T* made = static_cast<T*>(arena_.Take(count * sizeof(T)));
    if (!made) return NoMemory(), nullptr;
    for (size_t i = 0; i < count; ++i) new (made + i) T();
    return made;
  }
  List* NewList(uint32_t capacity, ListKind kind = ListKind::kList);
  bool Append(List* list, const Value& value);
  static Value Of(List* list) {
    Value v = Value::Of(Tag::kList);
    v.list = list;
    return v;
  }
  bool Pay(uint64_t steps) {
    steps_ += steps;
    return steps_ <= most_steps_ || TooMuch();
  }
  bool TooMuch();
  bool NoMemory();
  bool Fail(Code code, const char* format, ...) __attribute__((format(printf, 3, 4)));
  bool FailType(const char* what, const Value& value);
  bool FailUndefined(const Value& value);
  bool FailSafe() { return Fail(Code::kUnsupported, "a use of safe text that is not supported"); }
  static const char* Name(const Value& value);

  bool Push(const Value& value) {
    if (top_ >= kMostStack) return Fail(Code::kUnsupported, "expressions are nested too deeply");
    stack_[top_++] = value;
    return true;
  }
  // The topmost values, at least so many above what the present macro started with.
  Value* Top(uint32_t count) {
    if (top_ - base_ < count) {
      Fail(Code::kBadFile, "the code takes more than there is");
      return nullptr;
    }
    return stack_ + top_ - count;
  }
  Value Constant(uint32_t string) const {
    return Value::String(tables_.text(string), tables_.text_size(string));
  }

  const Tables& tables_;
  const RenderOptions& options_;
  Arena arena_;
  TextSink* sink_;
  Dict* given_ = nullptr;
  Dict* defaults_ = nullptr;
  Value* stack_ = nullptr;
  Value* variables_ = nullptr;
  uint32_t* active_ = nullptr;  // calls of each macro that have not returned
  uint32_t top_ = 0, base_ = 0, at_ = 0, calls_ = 0;
  Frame* frame_ = nullptr;
  Loop* loop_ = nullptr;
  Capture* capture_ = nullptr;
  uint64_t steps_ = 0, most_steps_ = 0, most_bytes_ = kWritten;
  Status status_;
};

// A string made at the end of the arena: nothing else may be taken until it is finished.
class Builder {
 public:
  explicit Builder(Machine* machine) : machine_(machine), begin_(machine->arena_.top()) {}
  void Add(const char* text, size_t bytes) {
    if (is_full() || bytes == 0) return;
    Arena& arena = machine_->arena_;
    is_too_much_ = size() + bytes > machine_->most_bytes_;
    has_no_room_ = bytes > arena.room();
    if (is_full()) return;
    std::memcpy(arena.top(), text, bytes);
    arena.Move(arena.top() + bytes);
  }
  void Add(const char* text) { Add(text, std::strlen(text)); }
  void Add(char c) { Add(&c, 1); }
  void Add(const Value& string) { Add(string.text, string.size); }
  // As markupsafe writes it for HTML, unless it is safe.
  void AddEscaped(const Value& string);
  // Starts with a string that may already lie at the end of the arena: then it grows in place.
  void Start(const Value& string) {
    if (string.size && string.text + string.size == begin_) {
      begin_ -= string.size;
      kept_ = string.size;
      return;
    }
    Add(string);
  }
  bool is_full() const { return is_too_much_ || has_no_room_; }
  size_t size() const { return static_cast<size_t>(machine_->arena_.top() - begin_); }
  const char* text() const { return begin_; }
  bool Finish(Value* out) {
    if (is_full()) return is_too_much_ ? machine_->TooMuch() : machine_->NoMemory();
    *out = Value::String(begin_, size());
    return machine_->Pay(1 + (size() - kept_) / 16);
  }
  void Drop() { machine_->arena_.Move(const_cast<char*>(begin_)); }

 private:
  Machine* machine_;
  const char* begin_;
  size_t kept_ = 0;  // bytes that were there before
  bool is_too_much_ = false, has_no_room_ = false;
};

}  // namespace smelt::chat
