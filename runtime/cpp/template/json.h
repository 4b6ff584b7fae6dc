// JSON, read strictly (RFC 8259): strings without escapes stay where they are.
#pragma once

#include "template/machine.h"

namespace smelt::chat {

class JsonReader {
 public:
  JsonReader(Machine* machine, const char* text, size_t bytes)
      : machine_(machine), begin_(text), at_(text), end_(text + bytes) {}
  // The one value that the text is.
  bool Read(Value* out);

 private:
  bool Any(Value* out, uint32_t depth);
  bool Array(Value* out, uint32_t depth);
  bool Object(Value* out, uint32_t depth);
  bool Number(Value* out);
  bool String(Value* out);
  bool Escaped(Value* out);
  bool Escape(class Builder* out);
  bool Hex(uint32_t* out);
  bool Word(const char* word);
  bool Bad(const char* what);
  void Skip();
  bool Is(char c) const { return at_ < end_ && *at_ == c; }

  Machine* machine_;
  const char* begin_;
  const char* at_;
  const char* end_;
};

}  // namespace smelt::chat
