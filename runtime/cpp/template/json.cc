#include "template/json.h"

#include "template/number.h"
#include "text/utf8.h"

namespace smelt::chat {

bool JsonReader::Bad(const char* what) {
  return machine_->Fail(Code::kInvalidArgument, "the JSON is broken at byte %zu: %s",
                        static_cast<size_t>(at_ - begin_), what);
}

void JsonReader::Skip() {
  while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
}

bool JsonReader::Read(Value* out) {
  if (!Any(out, 0)) return false;
  Skip();
  return at_ == end_ || Bad("something follows the value");
}

bool JsonReader::Word(const char* word) {
  const size_t bytes = std::strlen(word);
  if (static_cast<size_t>(end_ - at_) < bytes || std::memcmp(at_, word, bytes) != 0)
    return Bad("a value is expected");
  at_ += bytes;
  return true;
}

bool JsonReader::Any(Value* out, uint32_t depth) {
  if (depth > kMostDepth) return Bad("it is nested too deeply");
  if (!machine_->Pay(1)) return false;
  Skip();
  if (at_ == end_) return Bad("it ends too early");
  switch (*at_) {
    case '{':
      return Object(out, depth);
    case '[':
      return Array(out, depth);
    case '"':
      return String(out);
    case 't':
      *out = Value::Bool(true);
      return Word("true");
    case 'f':
      *out = Value::Bool(false);
      return Word("false");
    case 'n':
      *out = Value::None();
      return Word("null");
    default:
      return Number(out);
  }
}

bool JsonReader::Array(Value* out, uint32_t depth) {
  ++at_;
  List* list = machine_->NewList(0);
  if (!list) return false;
  *out = Machine::Of(list);
  Skip();
  if (Is(']')) return ++at_, true;
  for (;;) {
    Value item;
    if (!Any(&item, depth + 1) || !machine_->Append(list, item)) return false;
    Skip();
    if (Is(']')) return ++at_, true;
    if (!Is(',')) return Bad("`,` or `]` is expected");
    ++at_;
  }
}

bool JsonReader::Object(Value* out, uint32_t depth) {
  ++at_;
  *out = Value::Of(Tag::kDict);
  Dict* dict = out->dict = machine_->New<Dict>(1);
  if (!dict) return false;
  Skip();
  if (Is('}')) return ++at_, true;
  for (;;) {
    Value key, value;
    Skip();
    if (!Is('"')) return Bad("a key is expected");
    if (!String(&key)) return false;
    Skip();
    if (!Is(':')) return Bad("`:` is expected");
    ++at_;
    if (!Any(&value, depth + 1) || !machine_->Set(dict, key, value)) return false;
    Skip();
    if (Is('}')) return ++at_, true;
    if (!Is(',')) return Bad("`,` or `}` is expected");
    ++at_;
  }
}

bool JsonReader::Number(Value* out) {
  const char* first = at_;
  const auto digits = [this] {
    const char* from = at_;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ != from;
  };
  if (Is('-')) ++at_;
  const char* leading = at_;
  if (!digits()) return Bad("a value is expected");
  if (*leading == '0' && at_ - leading > 1) return Bad("a number begins with 0");
  bool is_real = false;
  if (Is('.')) {
    ++at_;
    is_real = true;
    if (!digits()) return Bad("a digit is expected");
  }
  if (Is('e') || Is('E')) {
    ++at_;
    is_real = true;
    if (Is('+') || Is('-')) ++at_;
    if (!digits()) return Bad("a digit is expected");
  }
  const size_t bytes = static_cast<size_t>(at_ - first);
  if (is_real) {
    double value;
    if (!ParseReal(first, bytes, &value)) return Bad("a number is too long");
    *out = Value::Float(value);
    return true;
  }
  int64_t value;
  if (!ParseInteger(first, bytes, &value)) return Bad("an integer has more than 64 bits");
  *out = Value::Int(value);
  return true;
}

bool JsonReader::String(Value* out) {
  const char* first = ++at_;
  while (at_ < end_ && *at_ != '"' && *at_ != '\\') {
    if (static_cast<uint8_t>(*at_) < 0x20) return Bad("a control character in a string");
    uint32_t bad;
    bool cut;
    const uint32_t bytes = text::ValidChar(reinterpret_cast<const uint8_t*>(at_),
                                           reinterpret_cast<const uint8_t*>(end_), &bad, &cut);
    if (!bytes) return Bad("it is not UTF-8");
    at_ += bytes;
  }
  if (at_ == end_) return Bad("a string has no end");
  if (static_cast<size_t>(at_ - first) > 0x3fffffff) return Bad("a string is too long");
  *out = Value::String(first, static_cast<size_t>(at_ - first));
  if (*at_ == '\\') return Escaped(out);
  ++at_;
  return machine_->Pay(1 + out->size / 16);
}

bool JsonReader::Escaped(Value* out) {
  Builder text(machine_);
  text.Add(*out);
  while (at_ < end_ && *at_ != '"') {
    if (*at_ == '\\') {
      if (!Escape(&text)) return false;
      continue;
    }
    if (static_cast<uint8_t>(*at_) < 0x20) return Bad("a control character in a string");
    uint32_t bad;
    bool cut;
    const uint32_t bytes = text::ValidChar(reinterpret_cast<const uint8_t*>(at_),
                                           reinterpret_cast<const uint8_t*>(end_), &bad, &cut);
    if (!bytes) return Bad("it is not UTF-8");
    text.Add(at_, bytes);
    at_ += bytes;
  }
  if (at_ == end_) return Bad("a string has no end");
  ++at_;
  return text.Finish(out);
}

bool JsonReader::Hex(uint32_t* out) {
  if (end_ - at_ < 4) return Bad("four hexadecimal digits are expected");
  *out = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = *at_++;
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return Bad("four hexadecimal digits are expected");
    *out = *out << 4 | static_cast<uint32_t>(digit);
  }
  return true;
}

bool JsonReader::Escape(Builder* out) {
  if (++at_ == end_) return Bad("a string has no end");
  static const char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
  const char c = *at_++;
  const char* found = c ? std::strchr(kFrom, c) : nullptr;
  if (found) {
    out->Add(kTo[found - kFrom]);
    return true;
  }
  if (c != 'u') return Bad("an unknown escape");
  uint32_t code, low;
  if (!Hex(&code)) return false;
  if (code >= 0xd800 && code < 0xdc00) {
    if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return Bad("half a character");
    at_ += 2;
    if (!Hex(&low)) return false;
    if (low < 0xdc00 || low > 0xdfff) return Bad("half a character");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xdc00 && code < 0xe000) {
    return Bad("half a character");
  }
  uint8_t bytes[4];
  out->Add(reinterpret_cast<const char*>(bytes), text::Encode(code, bytes));
  return true;
}

}  // namespace smelt::chat
