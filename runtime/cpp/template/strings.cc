// Strings: places of characters, white space, cases, parts.
#include "template/machine.h"
#include "text/utf8.h"

namespace smelt::chat {

namespace {

const uint8_t* Bytes(const char* p) { return reinterpret_cast<const uint8_t*>(p); }

uint32_t CodeAt(const Value& text, size_t at, uint32_t* bytes) {
  const text::Char c = text::Decode(Bytes(text.text) + at, Bytes(text.text) + text.size);
  *bytes = c.bytes;
  return c.code;
}

bool IsSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool IsLineEnd(uint32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

// Where the character before `at` begins.
size_t Before(const Value& text, size_t at) {
  do {
    --at;
  } while (at > 0 && (text.text[at] & 0xc0) == 0x80);
  return at;
}

}  // namespace

size_t Machine::Characters(const Value& text) const {
  size_t count = 0;
  for (uint32_t i = 0; i < text.size; ++i) count += (text.text[i] & 0xc0) != 0x80;
  return count;
}

const char* Machine::Place(const Value& text, size_t character) const {
  const char* p = text.text;
  for (const char* end = p + text.size; p < end; ++p) {
    if ((*p & 0xc0) != 0x80 && character-- == 0) break;
  }
  return p;
}

uint32_t Machine::Properties(uint32_t code) const {
  uint32_t low = 0, high = tables_.letters->ranges;  // the first range starts at 0
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (tables_.ranges[middle].first <= code ? low : high) = middle;
  }
  return tables_.ranges[low].properties;
}

bool Machine::IsFinalSigma(const Value& text, size_t at) const {
  uint32_t bytes;
  bool is_behind = false;
  for (size_t i = at; i > 0 && at - i < 256;) {
    i = Before(text, i);
    const uint32_t properties = Properties(CodeAt(text, i, &bytes));
    if (properties & kIgnored) continue;
    is_behind = properties & kCased;
    break;
  }
  if (!is_behind) return false;
  CodeAt(text, at, &bytes);
  for (size_t i = at + bytes; i < text.size && i - at < 256; i += bytes) {
    const uint32_t properties = Properties(CodeAt(text, i, &bytes));
    if (!(properties & kIgnored)) return !(properties & kCased);
  }
  return true;
}

void Machine::CaseInto(const Value& text, size_t begin, size_t end, int rule, Builder* out) {
  uint32_t bytes;
  for (size_t at = begin; at < end && !out->is_full(); at += bytes) {
    const uint32_t code = CodeAt(text, at, &bytes);
    if (code < 128) {
      const char c = static_cast<char>(code);
      const bool is_up = c >= 'A' && c <= 'Z', is_low = c >= 'a' && c <= 'z';
      out->Add(static_cast<char>(rule == 1 ? (is_up ? c + 32 : c) : (is_low ? c - 32 : c)));
      continue;
    }
    if (code == 0x3a3 && rule == 1) {
      out->Add(IsFinalSigma(text, at) ? "\xcf\x82" : "\xcf\x83", 2);
      continue;
    }
    const LetterRule* rules = tables_.rules[rule];
    uint32_t low = 0, high = tables_.letters->rules[rule];
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (rules[middle].from < code) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low < tables_.letters->rules[rule] && rules[low].from == code) {
      const uint8_t* other = tables_.letter_texts + rules[low].text;
      out->Add(reinterpret_cast<const char*>(other + 1), other[0]);
    } else {
      out->Add(text.text + at, bytes);
    }
  }
}

bool Machine::Case(const Value& text, int rule, Value* out) {
  if (!Pay(1 + text.size / 2)) return false;
  Builder made(this);
  CaseInto(text, 0, text.size, rule, &made);
  return made.Finish(out);
}

bool Machine::Cased(const Value& text, Method how, Value* out) {
  if (how == Method::kUpper || how == Method::kLower)
    return Case(text, how == Method::kUpper ? 0 : 1, out);
  if (!Pay(1 + text.size / 2)) return false;
  Builder made(this);
  uint32_t bytes;
  if (how == Method::kCapitalize) {
    if (text.size) {
      CodeAt(text, 0, &bytes);
      CaseInto(text, 0, bytes, 2, &made);
      CaseInto(text, bytes, text.size, 1, &made);
    }
    return made.Finish(out);
  }
  bool is_inside = false;  // of a word
  for (size_t at = 0; at < text.size; at += bytes) {
    const uint32_t code = CodeAt(text, at, &bytes);
    CaseInto(text, at, at + bytes, is_inside ? 1 : 2, &made);
    is_inside = Properties(code) & kCased;
  }
  return made.Finish(out);
}

Value Machine::Stripped(const Value& text, const Value* chars, bool left, bool right) {
  const auto goes = [&](uint32_t code) {
    if (!chars) return IsSpace(code);
    uint32_t bytes;
    for (size_t at = 0; at < chars->size; at += bytes) {
      if (CodeAt(*chars, at, &bytes) == code) return true;
    }
    return false;
  };
  size_t begin = 0, end = text.size;
  uint32_t bytes;
  while (left && begin < end && goes(CodeAt(text, begin, &bytes))) begin += bytes;
  while (right && end > begin) {
    const size_t before = Before(text, end);
    if (!goes(CodeAt(text, before, &bytes))) break;
    end = before;
  }
  return Value::String(text.text + begin, end - begin);
}

bool Machine::Split(const Value& text, const Value& by, int64_t most, bool from_right, Value* out) {
  const bool at_spaces = by.is(Tag::kNone);
  if (!at_spaces && !by.is(Tag::kString)) return FailType("splitting", by);
  if (!at_spaces && by.size == 0) return Fail(Code::kInvalidArgument, "empty separator");
  if (!Pay(1 + uint64_t{text.size} * (1 + by.size / 64))) return false;
  List* list = NewList(0);
  if (!list) return false;
  *out = Of(list);
  const auto is_split = [&](size_t at, uint32_t* bytes) {
    if (at_spaces) return IsSpace(CodeAt(text, at, bytes));
    *bytes = by.size;
    return text.size - at >= by.size && std::memcmp(text.text + at, by.text, by.size) == 0;
  };
  const auto add = [&](size_t begin, size_t end) {
    return Append(list, Value::String(text.text + begin, end - begin));
  };
  const auto more = [&] { return most < 0 || list->size < most; };
  uint32_t bytes;
  if (!from_right) {
    size_t begin = 0, at = 0;
    if (at_spaces) {
      while (begin < text.size && is_split(begin, &bytes)) begin += bytes;
      at = begin;
    }
    while (at < text.size && more()) {
      if (!is_split(at, &bytes)) {
        CodeAt(text, at, &bytes);
        at += bytes;
        continue;
      }
      if (!add(begin, at)) return false;
      at += bytes;
      while (at_spaces && at < text.size && is_split(at, &bytes)) at += bytes;
      begin = at;
    }
    if (at_spaces && begin == text.size) return true;
    size_t end = text.size;
    if (at_spaces && more())
      end = begin +
            Stripped(Value::String(text.text + begin, end - begin), nullptr, false, true).size;
    return add(begin, end);
  }
  size_t end = text.size;
  if (at_spaces) end = Stripped(text, nullptr, false, true).size;
  size_t at = end;
  while (at > 0 && more()) {
    const size_t before = at_spaces ? Before(text, at) : at - 1;
    if (!is_split(before, &bytes) || before + bytes > end) {
      at = before;
      continue;
    }
    if (!add(before + bytes, end)) return false;
    end = before;
    if (at_spaces) end = Stripped(Value::String(text.text, end), nullptr, false, true).size;
    at = end;
  }
  if (!at_spaces || end > 0) {
    const size_t begin =
        at_spaces && more()
            ? end - Stripped(Value::String(text.text, end), nullptr, true, false).size
            : 0;
    if ((!at_spaces || begin < end) && !add(begin, end)) return false;
  }
  for (uint32_t i = 0; i < list->size / 2; ++i) {
    const Value other = list->items[i];
    list->items[i] = list->items[list->size - 1 - i];
    list->items[list->size - 1 - i] = other;
  }
  return true;
}

bool Machine::SplitLines(const Value& text, bool keep_ends, Value* out) {
  List* list = NewList(0);
  if (!list || !Pay(1 + text.size)) return false;
  uint32_t bytes;
  for (size_t begin = 0; begin < text.size;) {
    size_t end = begin;
    while (end < text.size && !IsLineEnd(CodeAt(text, end, &bytes))) end += bytes;
    size_t next = end;
    if (end < text.size) {
      next = end + bytes;
      if (text.text[end] == '\r' && next < text.size && text.text[next] == '\n') ++next;
    }
    if (!Append(list, Value::String(text.text + begin, (keep_ends ? next : end) - begin)))
      return false;
    begin = next;
  }
  *out = Of(list);
  return true;
}

bool Machine::Replace(const Value& text, const Value& old, const Value& by, int64_t most,
                      Value* out) {
  if (!Pay(1 + uint64_t{text.size} * (1 + old.size / 64))) return false;
  Builder made(this);
  size_t at = 0;
  uint32_t bytes;
  for (int64_t count = 0; most < 0 || count < most;) {
    if (old.size == 0) {
      made.Add(by);
      ++count;
      if (at == text.size) break;
    } else if (text.size - at < old.size) {
      break;
    } else if (std::memcmp(text.text + at, old.text, old.size) == 0) {
      made.Add(by);
      at += old.size;
      ++count;
      continue;
    }
    if (made.is_full()) break;
    CodeAt(text, at, &bytes);
    made.Add(text.text + at, bytes);
    at += bytes;
  }
  made.Add(text.text + at, text.size - at);
  return made.Finish(out);
}

bool Machine::Join(const Value& with, const Value& items, bool only_strings, Value* out) {
  List* list;
  if (!Items(items, &list)) return false;
  Builder made(this);
  for (uint32_t i = 0; i < list->size; ++i) {
    if (i) made.Add(with);
    if (only_strings && !list->items[i].is(Tag::kString)) return FailType("join", list->items[i]);
    if (!Str(list->items[i], &made) || !Pay(1)) return false;
  }
  return made.Finish(out);
}

}  // namespace smelt::chat
