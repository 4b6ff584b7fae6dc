// A compiled chat template: a conversation as JSON to the text of a prompt. Nothing allocates but
// error messages: the code is used in place, scratch is the caller's. Immutable, so any number of
// threads may share one.
#pragma once

#include <cstddef>

#include "core/status.h"
#include "template/format.h"

namespace smelt::chat {

struct RenderOptions {
  bool prepare = true;                 // messages as `apply_chat_template` hands them to a template
  uint64_t steps = uint64_t{1} << 24;  // and some for each byte of JSON
  int64_t now = -1;  // seconds since 1970 that strftime_now shows in local time; -1: the clock's
};

// Where text goes; `count` may end above `capacity`: then that many bytes are needed.
struct TextSink {
  char* text = nullptr;
  size_t capacity = 0, count = 0;
};

// Tables that are checked; looking something up needs no further check.
struct Tables {
  const Header* header = nullptr;
  const Instruction* code = nullptr;
  const uint32_t* lines = nullptr;
  const uint32_t* variables = nullptr;
  const MacroRecord* macros = nullptr;
  const uint32_t* arguments = nullptr;
  const uint8_t* numbers = nullptr;
  const uint32_t* offsets = nullptr;
  const char* strings = nullptr;
  const LettersHead* letters = nullptr;
  const LetterRange* ranges = nullptr;
  const LetterRule* rules[3] = {};
  const uint8_t* letter_texts = nullptr;
  uint32_t code_count = 0, variable_count = 0, macro_count = 0, argument_count = 0;
  uint32_t number_count = 0, string_count = 0, letter_bytes = 0;

  const char* text(uint32_t i) const { return strings + offsets[i]; }
  uint32_t text_size(uint32_t i) const { return offsets[i + 1] - offsets[i]; }
};

class Template {
 public:
  // The bytes are 8-byte aligned and outlive the template.
  static Result<Template> Open(const void* bytes, size_t size);

  // Scratch that is enough for most conversations of this many bytes.
  static size_t ScratchBytes(size_t json_bytes) { return 262144 + 32 * json_bytes; }
  // kOutOfMemory when the scratch is too small: try again with more. json: an object of variables,
  // such as messages, tools, add_generation_prompt.
  Status Render(const char* json, size_t bytes, const RenderOptions& options, void* scratch,
                size_t scratch_bytes, TextSink* sink) const;

 private:
  Tables tables_;
};

}  // namespace smelt::chat
