// Values as text: Python's str and repr, and JSON as `json.dumps` writes it.
#include <cmath>
#include <cstdio>

#include "template/machine.h"
#include "template/number.h"
#include "text/utf8.h"

namespace smelt::chat {

namespace {

void AddInteger(int64_t value, Builder* out) {
  char text[24];
  const int bytes = std::snprintf(text, sizeof text, "%lld", static_cast<long long>(value));
  out->Add(text, static_cast<size_t>(bytes));
}

void AddEscape(const char* format, uint32_t code, Builder* out) {
  char text[16];
  const int bytes = std::snprintf(text, sizeof text, format, code);
  out->Add(text, static_cast<size_t>(bytes));
}

}  // namespace

void Builder::AddEscaped(const Value& string) {
  static const char kSigns[] = "&<>'\"";
  static const char* const kNames[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  if (string.is_safe) return Add(string);
  for (uint32_t i = 0; i < string.size && !is_full(); ++i) {
    const char* found = string.text[i] ? std::strchr(kSigns, string.text[i]) : nullptr;
    if (found) {
      Add(kNames[found - kSigns]);
    } else {
      Add(string.text[i]);
    }
  }
}

bool Machine::Text(const Value& value, Value* out) {
  if (value.is(Tag::kString)) {
    *out = value;
    return true;
  }
  Builder text(this);
  return Str(value, &text) && text.Finish(out);
}

bool Machine::Str(const Value& value, Builder* out, uint32_t depth) {
  switch (value.tag) {
    case Tag::kUndefined:
      return true;
    case Tag::kString:
      out->Add(value);
      return true;
    default:
      return Repr(value, out, depth);
  }
}

void Machine::Real(double value, Builder* out) {
  char text[40];
  out->Add(text, WriteReal(value, text));
}

bool Machine::Repr(const Value& value, Builder* out, uint32_t depth) {
  if (depth > 2 * kMostDepth) return Fail(Code::kUnsupported, "values are nested too deeply");
  if (!Pay(1)) return false;
  switch (value.tag) {
    case Tag::kUndefined:
      out->Add("Undefined");
      return true;
    case Tag::kNone:
      out->Add("None");
      return true;
    case Tag::kBool:
      out->Add(value.integer ? "True" : "False");
      return true;
    case Tag::kInt:
      AddInteger(value.integer, out);
      return true;
    case Tag::kFloat:
      Real(value.real, out);
      return true;
    case Tag::kString:
      return ReprText(value, out);
    case Tag::kList: {
      const List& list = *value.list;
      if (list.kind >= ListKind::kRange)
        return Fail(Code::kUnsupported,
                    "a range, view or generator is not written, make it a list");
      const bool is_tuple = list.kind == ListKind::kTuple;
      out->Add(is_tuple ? '(' : '[');
      for (uint32_t i = 0; i < list.size; ++i) {
        if (i) out->Add(", ");
        if (!Repr(list.items[i], out, depth + 1)) return false;
      }
      if (is_tuple && list.size == 1) out->Add(',');
      out->Add(is_tuple ? ')' : ']');
      return true;
    }
    case Tag::kDict:
      out->Add('{');
      for (uint32_t i = 0; i < value.dict->size; ++i) {
        if (i) out->Add(", ");
        if (!Repr(value.dict->items[i].key, out, depth + 1)) return false;
        out->Add(": ");
        if (!Repr(value.dict->items[i].value, out, depth + 1)) return false;
      }
      out->Add('}');
      return true;
    default:
      return Fail(Code::kUnsupported, "a %s is not written", Name(value));
  }
}

bool Machine::ReprText(const Value& text, Builder* out) {
  if (text.is_safe) return FailSafe();
  const bool has_single = text.size && std::memchr(text.text, '\'', text.size);
  const bool has_double = text.size && std::memchr(text.text, '"', text.size);
  const char quote = has_single && !has_double ? '"' : '\'';
  out->Add(quote);
  const auto* p = reinterpret_cast<const uint8_t*>(text.text);
  for (const uint8_t* end = p + text.size; p < end && !out->is_full();) {
    const text::Char c = text::Decode(p, end);
    if (c.code == '\\' || c.code == static_cast<uint8_t>(quote)) {
      out->Add('\\');
      out->Add(static_cast<char>(c.code));
    } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
      out->Add(c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t");
    } else if (IsHidden(c.code)) {
      AddEscape(c.code < 0x100 ? "\\x%02x" : c.code < 0x10000 ? "\\u%04x" : "\\U%08x", c.code, out);
    } else {
      out->Add(reinterpret_cast<const char*>(p), c.bytes);
    }
    p += c.bytes;
  }
  out->Add(quote);
  return Pay(1 + text.size / 4);
}

// ---- JSON ----

bool Machine::ToJson(const Value& value, const Value* args, Value* out) {
  JsonStyle style;
  style.ascii = Truth(args[0]);
  style.sorted = Truth(args[3]);
  style.indent = Value::None();
  if (args[1].is_integer()) {
    if (args[1].integer > 16) return Fail(Code::kUnsupported, "an indent over 16");
    const int64_t width = args[1].integer < 0 ? 0 : args[1].integer;
    style.indent = Value::String("                ", static_cast<size_t>(width));
  } else if (args[1].is(Tag::kString)) {
    style.indent = args[1];
  } else if (!args[1].is(Tag::kNone)) {
    return FailType("an indent", args[1]);
  }
  style.item = style.indent.is(Tag::kNone) ? Value::String(", ", 2) : Value::String(",", 1);
  style.colon = Value::String(": ", 2);
  if (args[2].is(Tag::kList) && args[2].list->size == 2) {
    style.item = args[2].list->items[0];
    style.colon = args[2].list->items[1];
  }
  if ((!args[2].is(Tag::kNone) && !args[2].is(Tag::kList)) || !style.item.is(Tag::kString) ||
      !style.colon.is(Tag::kString))
    return FailType("separators", args[2]);
  Builder text(this);
  return Json(value, style, 0, &text) && text.Finish(out);
}

void Machine::JsonText(const Value& text, bool ascii, Builder* out) {
  static const char kNamed[] = "\"\\\n\r\t\f\b", kLetter[] = "\"\\nrtfb";
  out->Add('"');
  const auto* p = reinterpret_cast<const uint8_t*>(text.text);
  for (const uint8_t* end = p + text.size; p < end && !out->is_full();) {
    const uint8_t* from = p;
    while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && *p < 0x7f) ++p;
    out->Add(reinterpret_cast<const char*>(from), static_cast<size_t>(p - from));
    if (p == end) break;
    const text::Char c = text::Decode(p, end);
    const char* named =
        c.code && c.code < 0x80 ? std::strchr(kNamed, static_cast<char>(c.code)) : nullptr;
    if (named) {
      out->Add('\\');
      out->Add(kLetter[named - kNamed]);
    } else if (c.code < 0x20 || (ascii && c.code >= 0x7f && c.code < 0x10000)) {
      AddEscape("\\u%04x", c.code, out);
    } else if (ascii && c.code >= 0x10000) {
      AddEscape("\\u%04x", 0xd800 + ((c.code - 0x10000) >> 10), out);
      AddEscape("\\u%04x", 0xdc00 + ((c.code - 0x10000) & 0x3ff), out);
    } else {
      out->Add(reinterpret_cast<const char*>(p), c.bytes);
    }
    p += c.bytes;
  }
  out->Add('"');
}

bool Machine::JsonKey(const Value& key, Builder* out) {
  switch (key.tag) {
    case Tag::kNone:
      out->Add("null");
      return true;
    case Tag::kBool:
      out->Add(key.integer ? "true" : "false");
      return true;
    case Tag::kInt:
      AddInteger(key.integer, out);
      return true;
    case Tag::kFloat:
      if (!std::isfinite(key.real)) {
        out->Add(std::isnan(key.real) ? "NaN" : key.real < 0 ? "-Infinity" : "Infinity");
        return true;
      }
      Real(key.real, out);
      return true;
    default:
      return FailType("JSON", key);
  }
}

bool Machine::Json(const Value& value, const JsonStyle& style, uint32_t depth, Builder* out) {
  if (depth > 2 * kMostDepth) return Fail(Code::kUnsupported, "values are nested too deeply");
  if (!Pay(1 + (value.is(Tag::kString) ? value.size / 8 : 0))) return false;
  if (value.is(Tag::kString)) return JsonText(value, style.ascii, out), true;
  const bool is_dict = value.is(Tag::kDict);
  const bool is_list = value.is(Tag::kList) && value.list->kind < ListKind::kRange;
  if (!is_dict && !is_list) return JsonKey(value, out);
  const uint32_t size = is_dict ? value.dict->size : value.list->size;
  const auto line = [&](uint32_t level) {
    if (style.indent.is(Tag::kNone)) return;
    out->Add('\n');
    for (uint32_t i = 0; i < level; ++i) out->Add(style.indent);
  };
  const Pair* last = nullptr;
  out->Add(is_dict ? '{' : '[');
  for (uint32_t i = 0; i < size; ++i) {
    if (i) out->Add(style.item);
    line(depth + 1);
    if (!is_dict) {
      if (!Json(value.list->items[i], style, depth + 1, out)) return false;
      continue;
    }
    const Pair* pair = value.dict->items + i;
    if (style.sorted) {  // the least key above the last one; few mappings are large
      pair = nullptr;
      for (uint32_t k = 0; k < size; ++k) {
        const Pair* other = value.dict->items + k;
        int order = 1;
        if (last && !Order(other->key, last->key, &order)) return false;
        if (order <= 0) continue;
        if (pair && !Order(other->key, pair->key, &order)) return false;
        if (!pair || order < 0) pair = other;
      }
      if (!pair) return Fail(Code::kInvalidArgument, "keys are equal");
      last = pair;
    }
    if (pair->key.is(Tag::kString)) {
      JsonText(pair->key, style.ascii, out);
    } else {
      out->Add('"');
      if (!JsonKey(pair->key, out)) return false;
      out->Add('"');
    }
    out->Add(style.colon);
    if (!Json(pair->value, style, depth + 1, out)) return false;
  }
  if (size) line(depth);
  out->Add(is_dict ? '}' : ']');
  return true;
}

}  // namespace smelt::chat
