// Opening a template: every index is checked here, so that running it needs no checks of them.
#include "template/machine.h"
#include "text/utf8.h"

namespace smelt::chat {

namespace {

Status Bad(const char* what) { return Error(Code::kBadFile, "chat template: %s", what); }

struct Opener {
  const uint8_t* bytes;
  Tables* t;

  template <typename T>
  uint32_t Take(Part part, const T** out) const {
    const PartRecord& record = t->header->parts[static_cast<uint32_t>(part)];
    *out = reinterpret_cast<const T*>(bytes + record.offset);
    return record.bytes / static_cast<uint32_t>(sizeof(T));
  }
  Status Parts(size_t size) const;
  Status Strings() const;
  Status Letters() const;
  Status Macros() const;
  Status Code(const Instruction& now) const;
};

Status Opener::Parts(size_t size) const {
  if (reinterpret_cast<uintptr_t>(bytes) % 8) return Bad("it is not aligned");
  if (size < sizeof(Header) || std::memcmp(bytes, kMagic, sizeof kMagic) != 0)
    return Bad("the first bytes are not its own");
  const auto* header = t->header = reinterpret_cast<const Header*>(bytes);
  if (header->version != kVersion)
    return Error(smelt::Code::kUnsupported, "chat template: version is %u, this runtime reads %u",
                 header->version, kVersion);
  if (header->bytes != size) return Bad("the file was cut");
  uint64_t end = sizeof(Header);
  for (const PartRecord& part : header->parts) {
    if (part.offset % 8 || part.offset < end || uint64_t{part.offset} + part.bytes > size)
      return Bad("a part lies outside the file or another");
    end = uint64_t{part.offset} + part.bytes;
  }
  t->code_count = Take(Part::kCode, &t->code);
  const uint32_t lines = Take(Part::kLines, &t->lines);
  t->variable_count = Take(Part::kVariables, &t->variables);
  t->macro_count = Take(Part::kMacros, &t->macros);
  t->argument_count = Take(Part::kArguments, &t->arguments);
  t->number_count = Take(Part::kNumbers, &t->numbers) / 8;
  if (t->code_count == 0 || lines != t->code_count) return Bad("there is no code");
  if (t->variable_count > 0xffff) return Bad("there are too many variables");
  return {};
}

Status Opener::Strings() const {
  const uint32_t offsets = Take(Part::kOffsets, &t->offsets);
  const uint32_t size = Take(Part::kStrings, &t->strings);
  if (offsets == 0) return Bad("there are no strings");
  t->string_count = offsets - 1;
  if (t->offsets[0] != 0 || t->offsets[t->string_count] != size)
    return Bad("strings do not fill their part");
  uint32_t bad;
  bool cut;
  for (uint32_t i = 0; i < t->string_count; ++i) {
    if (t->offsets[i] > t->offsets[i + 1] || t->offsets[i + 1] > size)
      return Bad("strings overlap");
    const auto* p = reinterpret_cast<const uint8_t*>(t->text(i));
    for (const uint8_t* end = p + t->text_size(i); p < end;) {
      const uint32_t step = text::ValidChar(p, end, &bad, &cut);
      if (!step) return Bad("a string is not UTF-8");
      p += step;
    }
  }
  if (t->header->given >= t->string_count) return Bad("a string is missing");
  for (uint32_t i = 0; i < t->variable_count; ++i) {
    if (t->variables[i] >= t->string_count) return Bad("a variable has no name");
  }
  return {};
}

Status Opener::Letters() const {
  const uint8_t* data;
  const uint32_t size = Take(Part::kLetters, &data);
  if (size < sizeof(LettersHead)) return Bad("letters are missing");
  t->letters = reinterpret_cast<const LettersHead*>(data);
  const LettersHead& head = *t->letters;
  uint64_t rows = head.ranges, at = sizeof head;
  for (const uint32_t count : head.rules) rows += count;
  if (head.ranges == 0 || at + 8 * rows > size) return Bad("letters are too few");
  t->ranges = reinterpret_cast<const LetterRange*>(data + at);
  at += 8 * uint64_t{head.ranges};
  for (int i = 0; i < 3; ++i) {
    t->rules[i] = reinterpret_cast<const LetterRule*>(data + at);
    at += 8 * uint64_t{head.rules[i]};
  }
  t->letter_texts = data + at;
  t->letter_bytes = size - static_cast<uint32_t>(at);
  for (int i = 0; i < 3; ++i) {
    for (uint32_t k = 0; k < head.rules[i]; ++k) {
      const uint64_t text = t->rules[i][k].text;
      if (text >= t->letter_bytes || text + 1 + t->letter_texts[text] > t->letter_bytes)
        return Bad("a letter has no text");
      uint32_t bad;
      bool cut;
      const uint8_t* p = t->letter_texts + text + 1;
      for (const uint8_t* end = p + p[-1]; p < end;) {
        const uint32_t step = text::ValidChar(p, end, &bad, &cut);
        if (!step) return Bad("a letter's text is not UTF-8");
        p += step;
      }
    }
  }
  return {};
}

Status Opener::Macros() const {
  for (uint32_t i = 0; i < t->argument_count; ++i) {
    if (t->arguments[i] >= t->variable_count) return Bad("an argument is no variable");
  }
  for (uint32_t i = 0; i < t->macro_count; ++i) {
    const MacroRecord& m = t->macros[i];
    if (m.name >= t->string_count || m.entry >= t->code_count ||
        uint64_t{m.first_argument} + m.arguments > t->argument_count ||
        uint64_t{m.first_variable} + m.variables > t->variable_count)
      return Bad("a macro is out of range");
  }
  return {};
}

// What the operands of an instruction point to.
enum class Needs { kNothing, kString, kNumber, kVariable, kLoop, kPlace, kMacro, kCount };

Needs NeedsOf(Op op) {
  switch (op) {
    case Op::kText:
    case Op::kString:
    case Op::kSpecial:
    case Op::kAttr:
    case Op::kMethod:
    case Op::kSetAttr:
      return Needs::kString;
    case Op::kInt:
    case Op::kFloat:
      return Needs::kNumber;
    case Op::kLoad:
    case Op::kStore:
    case Op::kResolve:
    case Op::kClear:
    case Op::kCopy:
      return Needs::kVariable;
    case Op::kFor:
      return Needs::kLoop;
    case Op::kJump:
    case Op::kJumpFalse:
    case Op::kAnd:
    case Op::kOr:
    case Op::kNext:
    case Op::kBreak:
      return Needs::kPlace;
    case Op::kMacro:
      return Needs::kMacro;
    case Op::kConcat:
    case Op::kList:
    case Op::kTuple:
    case Op::kDict:
      return Needs::kCount;
    default:
      return Needs::kNothing;
  }
}

Status Opener::Code(const Instruction& now) const {
  if (now.op >= kOps)
    return Error(smelt::Code::kUnsupported, "chat template: instruction %u is unknown",
                 unsigned{now.op});
  const auto op = static_cast<Op>(now.op);
  const uint32_t limits[] = {
      0xffffffffu,           t->string_count, t->number_count, t->variable_count,
      t->variable_count + 1, t->code_count,   t->macro_count,  kMostStack};
  const Needs needs = NeedsOf(op);
  if (needs != Needs::kNothing && now.c >= limits[static_cast<int>(needs)])
    return Bad("an operand is out of range");
  if (op == Op::kCopy && now.b >= t->variable_count) return Bad("an operand is out of range");
  if (op == Op::kSpecial && now.a > static_cast<uint8_t>(Special::kTrue))
    return Bad("an operand is out of range");
  if (op == Op::kBinary && now.a > static_cast<uint8_t>(Binary::kPower))
    return Bad("an operand is out of range");
  if (op == Op::kCompare && now.a > static_cast<uint8_t>(Comparison::kNotIn))
    return Bad("an operand is out of range");
  if (op == Op::kCall && now.b > 255) return Bad("an operand is out of range");
  if (op == Op::kFilter) {
    if (now.b >= kFilters)
      return Error(smelt::Code::kUnsupported, "chat template: filter %u is unknown",
                   unsigned{now.b});
    const uint8_t wanted = kFilterArguments[now.b];
    const bool by_attribute = static_cast<Filter>(now.b) >= Filter::kSelectAttr;
    if (wanted == kAnyCount ? now.a < (by_attribute ? 2 : 1) : now.a != wanted)
      return Bad("a filter has another number of arguments");
  }
  if (op == Op::kTest) {
    if (now.b >= kTests)
      return Error(smelt::Code::kUnsupported, "chat template: test %u is unknown", unsigned{now.b});
    if (now.a != (now.b >= static_cast<uint16_t>(Test::kDivisibleBy)))
      return Bad("a test has another number of arguments");
  }
  if (op == Op::kMethod) {
    if (now.b >= kMethods)
      return Error(smelt::Code::kUnsupported, "chat template: method %u is unknown",
                   unsigned{now.b});
    const uint8_t wanted = kMethodArguments[now.b];
    if (wanted != kAnyCount && now.a != wanted)
      return Bad("a method has another number of arguments");
  }
  return {};
}

}  // namespace

Result<Template> Template::Open(const void* bytes, size_t size) {
  Template made;
  const Opener opener{static_cast<const uint8_t*>(bytes), &made.tables_};
  SMELT_TRY(opener.Parts(size));
  SMELT_TRY(opener.Strings());
  SMELT_TRY(opener.Letters());
  SMELT_TRY(opener.Macros());
  for (uint32_t i = 0; i < made.tables_.code_count; ++i)
    SMELT_TRY(opener.Code(made.tables_.code[i]));
  return made;
}

Status Template::Render(const char* json, size_t bytes, const RenderOptions& options, void* scratch,
                        size_t scratch_bytes, TextSink* sink) const {
  sink->count = 0;
  return Machine(tables_, options, Arena(scratch, scratch_bytes), sink).Run(json, bytes);
}

}  // namespace smelt::chat
