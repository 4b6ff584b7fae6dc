// The values of a template, and the memory that holds them for one rendering.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "template/format.h"

namespace smelt::chat {

enum class Tag : uint8_t {
  kMissing,  // never seen by a template
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kDict,
  kNamespace,
  kMacro,
  kLoop,
  kFunction,
  kMethod,  // of an object, not called: all that can be done with it is to ask whether it is there
};

enum class ListKind : uint8_t { kList, kTuple, kRange, kView, kGenerator };

struct List;
struct Dict;
struct Loop;

// Strings are UTF-8 and lie in the arena, the file, or the caller's memory.
struct Value {
  Tag tag = Tag::kMissing;
  bool is_safe = false;  // a string behind the filter `safe`: what is added to it is escaped
  uint32_t size = 0;     // bytes of a string, or of the name of what is undefined
  union {
    const char* text;
    int64_t integer;
    double real;
    List* list;
    Dict* dict;
    Loop* loop;
  };

  Value() : integer(0) {}
  static Value Of(Tag tag) {
    Value v;
    v.tag = tag;
    return v;
  }
  static Value None() { return Of(Tag::kNone); }
  static Value Bool(bool b) { return Int(b, Tag::kBool); }
  static Value Int(int64_t i, Tag tag = Tag::kInt) {
    Value v = Of(tag);
    v.integer = i;
    return v;
  }
  static Value Float(double f) {
    Value v = Of(Tag::kFloat);
    v.real = f;
    return v;
  }
  static Value String(const char* text, size_t size, Tag tag = Tag::kString) {
    Value v = Of(tag);
    v.text = text;
    v.size = static_cast<uint32_t>(size);
    return v;
  }
  static Value Undefined(const char* name, size_t size) {
    return String(name, size, Tag::kUndefined);
  }

  // The same text, safe if another one is.
  Value SafeAs(const Value& other) const {
    Value v = *this;
    v.is_safe = other.is_safe;
    return v;
  }

  bool is(Tag t) const { return tag == t; }
  bool is_number() const { return is(Tag::kBool) || is(Tag::kInt) || is(Tag::kFloat); }
  bool is_integer() const { return is(Tag::kBool) || is(Tag::kInt); }
  bool Equals(const char* other) const {  // a string of this content
    return is(Tag::kString) && std::strlen(other) == size && std::memcmp(text, other, size) == 0;
  }
  bool SameText(const Value& other) const {
    return size == other.size && (size == 0 || std::memcmp(text, other.text, size) == 0);
  }
};

struct List {
  Value* items = nullptr;
  uint32_t size = 0, capacity = 0;
  ListKind kind = ListKind::kList;
};

// Whether Python cannot hash a value: it is in no mapping, and to ask for it is an error.
inline bool CannotBeHashed(const Value& v, int depth = 0) {
  if (v.tag == Tag::kDict || depth > 64) return true;
  if (v.tag != Tag::kList) return false;
  for (uint32_t i = 0; v.list->kind == ListKind::kTuple && i < v.list->size; ++i) {
    if (CannotBeHashed(v.list->items[i], depth + 1)) return true;
  }
  return v.list->kind == ListKind::kList || v.list->kind == ListKind::kView;
}

struct Pair {
  Value key, value;
};

struct Dict {
  Pair* items = nullptr;
  uint32_t size = 0, capacity = 0;

  // The value of a key that is a string; null when there is none.
  Value* Find(const char* name, size_t bytes) const {
    for (uint32_t i = 0; i < size; ++i) {
      const Value& key = items[i].key;
      if (key.tag == Tag::kString && key.size == bytes &&
          (bytes == 0 || std::memcmp(key.text, name, bytes) == 0))
        return &items[i].value;
    }
    return nullptr;
  }
};

struct Loop {
  Loop* outer;
  List* list;
  uint32_t next;  // the item that comes now
};

// Memory of the caller, given out from the front and never taken back one by one.
class Arena {
 public:
  Arena(void* memory, size_t bytes)
      : begin_(static_cast<char*>(memory)), top_(begin_), end_(begin_ + bytes) {}

  void* Take(size_t bytes) {
    const size_t padding = (16 - reinterpret_cast<uintptr_t>(top_) % 16) % 16;
    if (static_cast<size_t>(end_ - top_) < padding || room() - padding < bytes) return nullptr;
    void* taken = top_ + padding;
    top_ += padding + bytes;
    return taken;
  }
  char* top() const { return top_; }
  size_t room() const { return static_cast<size_t>(end_ - top_); }
  void Move(char* to) { top_ = to; }

 private:
  char* begin_;
  char* top_;
  char* end_;
};

}  // namespace smelt::chat
