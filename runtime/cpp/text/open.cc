// Opening a tokenizer: every table is checked here, so that walking them needs no checks.
#include "text/tokenizer.h"

namespace smelt::text {

namespace {

Status Bad(const char* what) { return Error(Code::kBadFile, "tokenizer: %s", what); }

}  // namespace

class Opener {
 public:
  Opener(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {}

  Status Run(Tokenizer* out);

 private:
  Status Tables();
  Status Steps(uint32_t table, Tokenizer::StepList* out);
  Status OneStep(const Step& step, Tokenizer::OpenStep* out);
  Status Vocabulary(Tokenizer* out);
  Status Decoding(Tokenizer* out);

  // The bytes of a table of that kind with at least `least` of them.
  Status Find(uint32_t table, Kind kind, size_t least, const uint8_t** data, size_t* bytes) const;
  Status Blocks(uint32_t table, Kind kind, size_t width, const uint16_t** blocks,
                uint32_t* count) const;
  Status Open(uint32_t table, uint32_t limit, Classes* out) const;
  Status Open(uint32_t table, uint32_t limit, Map* out) const;
  Status Open(uint32_t table, Strings* out) const;
  Status Open(uint32_t table, Automaton* out) const;
  Status Open(uint32_t table, uint32_t limit, Trie* out) const;
  Status Open(uint32_t table, uint32_t limit, Pairs* out) const;
  Status Open(uint32_t table, const Strings& strings, Words* out) const;
  Status Ids(uint32_t table, size_t count, uint32_t limit, const uint32_t** out) const;

  const uint8_t* bytes_;
  size_t size_;
  const TableRecord* tables_ = nullptr;
  uint32_t count_ = 0;
  const Info* info_ = nullptr;
};

Status Opener::Tables() {
  if (reinterpret_cast<uintptr_t>(bytes_) % alignof(uint64_t))
    return Bad("it does not lie at a multiple of 8 bytes");
  if (size_ < sizeof(Header) || std::memcmp(bytes_, kMagic, sizeof kMagic) != 0)
    return Bad("the first bytes are not its own");
  const auto* header = reinterpret_cast<const Header*>(bytes_);
  if (header->version != kVersion)
    return Error(Code::kUnsupported, "tokenizer: version is %u, this runtime reads %u",
                 header->version, kVersion);
  if (header->bytes != size_) return Bad("the file was cut");
  count_ = header->tables;
  if (count_ == 0 || count_ > kMostTables || size_ < sizeof(Header) + count_ * sizeof(TableRecord))
    return Bad("the number of tables is impossible");
  tables_ = reinterpret_cast<const TableRecord*>(bytes_ + sizeof(Header));
  uint64_t end = sizeof(Header) + count_ * sizeof(TableRecord);
  for (uint32_t i = 0; i < count_; ++i) {
    const TableRecord& table = tables_[i];
    if (table.offset % 16 || table.offset < end || uint64_t{table.offset} + table.bytes > size_)
      return Bad("a table lies outside the file or another");
    end = uint64_t{table.offset} + table.bytes;
  }
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(0, Kind::kInfo, sizeof(Info), &data, &bytes));
  info_ = reinterpret_cast<const Info*>(data);
  return {};
}

Status Opener::Find(uint32_t table, Kind kind, size_t least, const uint8_t** data,
                    size_t* bytes) const {
  if (table >= count_ || tables_[table].kind != static_cast<uint32_t>(kind))
    return Bad("a table is missing or of another kind");
  if (tables_[table].bytes < least) return Bad("a table is too short");
  *data = bytes_ + tables_[table].offset;
  *bytes = tables_[table].bytes;
  return {};
}

// What is known of code points, in blocks of 128 values of `width` bytes.
Status Opener::Blocks(uint32_t table, Kind kind, size_t width, const uint16_t** blocks,
                      uint32_t* count) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, kind, 8 + 2 * kStage1, &data, &bytes));
  std::memcpy(count, data, 4);
  if (*count > 0xffff || bytes != 8 + 2 * kStage1 + size_t{*count} * 128 * width)
    return Bad("a table of code points has another size");
  *blocks = reinterpret_cast<const uint16_t*>(data + 8);
  for (uint32_t i = 0; i < kStage1; ++i) {
    if ((*blocks)[i] >= *count) return Bad("a block of code points is missing");
  }
  return {};
}

Status Opener::Open(uint32_t table, uint32_t limit, Classes* out) const {
  uint32_t blocks = 0;
  SMELT_TRY(Blocks(table, Kind::kClasses, 1, &out->blocks, &blocks));
  out->values = reinterpret_cast<const uint8_t*>(out->blocks + kStage1);
  for (size_t i = 0; i < size_t{blocks} * 128; ++i) {
    if (out->values[i] >= limit) return Bad("a class is out of range");
  }
  out->ascii = out->values + out->blocks[0] * 128u;
  return {};
}

Status Opener::Open(uint32_t table, uint32_t limit, Map* out) const {
  uint32_t blocks = 0;
  SMELT_TRY(Blocks(table, Kind::kMap, 2, &out->blocks, &blocks));
  out->values = out->blocks + kStage1;
  for (size_t i = 0; i < size_t{blocks} * 128; ++i) {
    if (out->values[i] > limit) return Bad("a map's value is out of range");
  }
  return {};
}

Status Opener::Open(uint32_t table, Strings* out) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kStrings, 12, &data, &bytes));
  std::memcpy(&out->count, data, 4);
  const size_t head = 8 + 4 * (size_t{out->count} + 1);
  if (bytes < head) return Bad("a table of strings is too short");
  out->offsets = reinterpret_cast<const uint32_t*>(data + 8);
  out->bytes = data + head;
  for (uint32_t i = 0; i < out->count; ++i) {
    if (out->offsets[i] > out->offsets[i + 1]) return Bad("strings overlap");
  }
  if (out->offsets[0] != 0 || out->offsets[out->count] != bytes - head)
    return Bad("strings do not fill their table");
  return {};
}

Status Opener::Open(uint32_t table, Automaton* out) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kAutomaton, 16, &data, &bytes));
  uint32_t head[4];
  std::memcpy(head, data, 16);
  const uint64_t columns = uint64_t{head[1]} + 1, states = head[2];
  if (head[1] == 0 || head[1] > 255 || states < 2 || states > kState ||
      bytes != 16 + 2 * columns * states)
    return Bad("an automaton has an impossible size");
  SMELT_TRY(Open(head[0], head[1], &out->classes));
  out->columns = static_cast<uint32_t>(columns);
  out->next = reinterpret_cast<const uint16_t*>(data + 16);
  for (uint64_t i = 0; i < columns * states; ++i) {
    if ((out->next[i] & kState) >= states) return Bad("an automaton leaves its states");
  }
  // A match is never empty: nothing is matched before the first character.
  for (uint64_t k = 0; k < columns; ++k) {
    if (out->next[columns + k] & kMatched) return Bad("an automaton matches nothing at all");
  }
  return {};
}

Status Opener::Open(uint32_t table, uint32_t limit, Trie* out) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kTrie, 8, &data, &bytes));
  std::memcpy(&out->nodes, data, 4);
  const uint64_t nodes = out->nodes;
  if (nodes == 0 || bytes != 8 + 4 * (256 + nodes + 1 + nodes) + nodes)
    return Bad("a trie has another size");
  out->root = reinterpret_cast<const uint32_t*>(data + 8);
  out->first = out->root + 256;
  out->value = out->first + nodes + 1;
  out->label = reinterpret_cast<const uint8_t*>(out->value + nodes);
  for (uint64_t i = 0; i < nodes; ++i) {
    // Children lie behind their parent, so every walk ends.
    if (out->first[i] <= i || out->first[i] > out->first[i + 1] || out->first[i + 1] > nodes)
      return Bad("a trie's node has impossible children");
    if (out->value[i] != kNone && out->value[i] >= limit) return Bad("a trie's value is too large");
  }
  for (uint32_t i = 0; i < 256; ++i) {
    if (out->root[i] >= nodes) return Bad("a trie's root has impossible children");
  }
  return {};
}

Status Opener::Open(uint32_t table, uint32_t limit, Pairs* out) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kPairs, 16 + sizeof(PairSlot), &data, &bytes));
  uint32_t bits;
  std::memcpy(&bits, data, 4);
  const size_t slots = (bytes - 16) / sizeof(PairSlot);
  if (bits == 0 || bits > 28 || slots < (size_t{1} << bits)) return Bad("pairs are too few");
  out->shift = 64 - bits;
  out->slots = reinterpret_cast<const PairSlot*>(data + 16);
  for (size_t i = 0; i < slots; ++i) {
    if (out->slots[i].id != kNone && out->slots[i].id >= limit)
      return Bad("a pair's id is too large");
  }
  if (out->slots[slots - 1].id != kNone) return Bad("pairs have no end");
  return {};
}

Status Opener::Open(uint32_t table, const Strings& strings, Words* out) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kWords, 16 + sizeof(WordSlot), &data, &bytes));
  uint32_t bits;
  std::memcpy(&bits, data, 4);
  const size_t slots = (bytes - 16) / sizeof(WordSlot);
  if (bits == 0 || bits > 28 || slots < (size_t{1} << bits)) return Bad("words are too few");
  out->shift = 64 - bits;
  out->slots = reinterpret_cast<const WordSlot*>(data + 16);
  out->strings = strings;
  for (size_t i = 0; i < slots; ++i) {
    const uint32_t id = out->slots[i].id;
    if (id != kNone && (id & ~kWhole) >= strings.count) return Bad("a word's id is too large");
  }
  if (out->slots[slots - 1].id != kNone) return Bad("words have no end");
  return {};
}

Status Opener::Ids(uint32_t table, size_t count, uint32_t limit, const uint32_t** out) const {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kWords32, 4 * count, &data, &bytes));
  *out = reinterpret_cast<const uint32_t*>(data);
  for (size_t i = 0; i < count; ++i) {
    if ((*out)[i] != kNone && (*out)[i] >= limit) return Bad("an id is too large");
  }
  return {};
}

Status Opener::OneStep(const Step& step, Tokenizer::OpenStep* out) {
  out->op = static_cast<StepOp>(step.op);
  out->b = step.b;
  out->c = step.c;
  switch (out->op) {
    case StepOp::kMap:
      SMELT_TRY(Open(step.b, &out->strings));
      return Open(step.a, out->strings.count, &out->map);
    case StepOp::kNormal:
      SMELT_TRY(Open(step.b, &out->strings));
      SMELT_TRY(Open(step.a, out->strings.count, &out->map));
      SMELT_TRY(Open(step.c, 256, &out->classes));
      SMELT_TRY(Open(step.d, 2, &out->active));
      out->composes = step.e != kNone;
      return out->composes ? Open(step.e, 0x110000, &out->pairs) : Status();
    case StepOp::kPrepend:
      SMELT_TRY(Open(step.a, &out->strings));
      if (out->strings.count < 1 || step.b > kAtStart) return Bad("a prefix is missing");
      return {};
    case StepOp::kStrip:
      return Open(step.a, 2, &out->classes);
    case StepOp::kReplace:
      SMELT_TRY(Open(step.b, &out->strings));
      if (out->strings.count < 1) return Bad("a replacement is missing");
      return Open(step.a, &out->automaton);
    case StepOp::kSplit:
      if (step.b > static_cast<uint32_t>(Behavior::kContiguous)) return Bad("a split is unknown");
      return Open(step.a, &out->automaton);
    case StepOp::kCharsmap:
      SMELT_TRY(Open(step.b, &out->strings));
      SMELT_TRY(Open(step.a, out->strings.count, &out->trie));
      return Open(step.c, &out->automaton);
  }
  return Error(Code::kUnsupported, "tokenizer: step %u is unknown", step.op);
}

Status Opener::Steps(uint32_t table, Tokenizer::StepList* out) {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(table, Kind::kSteps, 0, &data, &bytes));
  if (bytes % sizeof(Step) || bytes / sizeof(Step) > kMostSteps) return Bad("too many steps");
  out->count = static_cast<uint32_t>(bytes / sizeof(Step));
  for (uint32_t i = 0; i < out->count; ++i) {
    SMELT_TRY(OneStep(reinterpret_cast<const Step*>(data)[i], &out->steps[i]));
  }
  return {};
}

Status Opener::Vocabulary(Tokenizer* out) {
  const Info& info = *info_;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  if (info.vocab == 0 || info.vocab >= kWhole) return Bad("the vocabulary is empty");
  if (info.unknown != kNone && info.unknown >= info.vocab) return Bad("an id is too large");
  Strings strings;
  SMELT_TRY(Open(info.strings, &strings));
  if (strings.count > info.vocab) return Bad("there are more words than ids");
  SMELT_TRY(Open(info.words, strings, &out->words_));
  switch (static_cast<ModelKind>(info.model)) {
    case ModelKind::kBpe:
      SMELT_TRY(Open(info.pairs, info.vocab, &out->pairs_));
      if (info.symbols != kNone) SMELT_TRY(Ids(info.symbols, 256, info.vocab, &out->symbols_));
      if (info.affixes != kNone) {
        SMELT_TRY(Open(info.affixes, &out->affixes_));
        if (out->affixes_.count != 2 || out->affixes_.offsets[2] > 48)
          return Bad("a prefix and suffix are too long");
      }
      if (info.cuts != kNone) {
        SMELT_TRY(Find(info.cuts, Kind::kBytes, 1, &data, &bytes));
        if (bytes & (bytes - 1) || bytes > (1u << 28)) return Bad("cuts are not a power of two");
        out->cuts_ = data;
        out->cut_mask_ = static_cast<uint32_t>(bytes * 8 - 1);
      }
      break;
    case ModelKind::kWordPiece:
      SMELT_TRY(Open(info.heads, info.vocab, &out->heads_));
      SMELT_TRY(Open(info.tails, info.vocab, &out->tails_));
      if (info.unknown == kNone) return Bad("there is no unknown token");
      break;
    case ModelKind::kUnigram:
      SMELT_TRY(Open(info.heads, info.vocab, &out->heads_));
      SMELT_TRY(Find(info.scores, Kind::kReals, 8 * (size_t{info.vocab} + 1), &data, &bytes));
      out->scores_ = reinterpret_cast<const double*>(data);
      out->unknown_score_ = out->scores_[info.vocab];
      if (info.unknown == kNone) return Bad("there is no unknown token");
      break;
    case ModelKind::kWordLevel:
      if (info.unknown == kNone) return Bad("there is no unknown token");
      break;
    default:
      return Error(Code::kUnsupported, "tokenizer: model %u is unknown", info.model);
  }
  if (info.flags & kByteFallback) {
    SMELT_TRY(Ids(info.byte_symbols, 256, info.vocab, &out->byte_symbols_));
  }
  return {};
}

Status Opener::Decoding(Tokenizer* out) {
  const Info& info = *info_;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Open(info.rest_pieces, &out->rest_pieces_));
  out->first_pieces_ = out->rest_pieces_;
  if (info.first_pieces != kNone) SMELT_TRY(Open(info.first_pieces, &out->first_pieces_));
  if (out->rest_pieces_.count != info.vocab || out->first_pieces_.count != info.vocab)
    return Bad("pieces and ids are not as many");
  for (uint32_t i = 0; i < info.vocab; ++i) {
    const size_t longer = out->rest_pieces_.size(i) > out->first_pieces_.size(i)
                              ? out->rest_pieces_.size(i)
                              : out->first_pieces_.size(i);
    if (longer > out->longest_piece_) out->longest_piece_ = longer;
  }
  out->longest_piece_ *= 3;  // each byte may become a U+FFFD
  SMELT_TRY(Find(info.piece_flags, Kind::kBytes, info.vocab, &data, &bytes));
  out->piece_flags_ = data;
  for (uint32_t i = 0; i < info.vocab; ++i) {
    if (data[i] & kByte && out->rest_pieces_.size(i) != 1) return Bad("a byte is not one byte");
    if (data[i] & kByte && out->first_pieces_.size(i) != 1) return Bad("a byte is not one byte");
  }
  if (info.flags & kTrimOffsets) {
    SMELT_TRY(Find(info.trims, Kind::kBytes, 2 * size_t{info.vocab}, &data, &bytes));
    out->trims_ = data;
  }
  SMELT_TRY(Find(info.frame, Kind::kWords32, 0, &data, &bytes));
  out->frame_ = reinterpret_cast<const uint32_t*>(data);
  if (bytes % 8 || bytes > 8 * 64) return Bad("the frame has an impossible size");
  out->frame_count_ = static_cast<uint32_t>(bytes / 8);
  uint32_t bodies = 0;
  for (uint32_t i = 0; i < out->frame_count_; ++i) {
    const uint32_t op = out->frame_[2 * i], id = out->frame_[2 * i + 1];
    if (op > 1 || (op == 0 && id >= info.vocab)) return Bad("the frame has an impossible part");
    bodies += op == 1;
  }
  return bodies == 1 ? Status() : Bad("the frame does not hold the text once");
}

Status Opener::Run(Tokenizer* out) {
  SMELT_TRY(Tables());
  const Info& info = *info_;
  out->info_ = info_;
  SMELT_TRY(Steps(info.normalizers, &out->normalizers_));
  SMELT_TRY(Steps(info.splitters, &out->splitters_));
  SMELT_TRY(Vocabulary(out));
  SMELT_TRY(Decoding(out));
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  SMELT_TRY(Find(info.added, Kind::kWords32, 0, &data, &bytes));
  out->added_ = reinterpret_cast<const uint32_t*>(data);
  const uint32_t rows = static_cast<uint32_t>(bytes / 8);
  for (uint32_t i = 0; i < rows; ++i) {
    if (out->added_[2 * i] >= info.vocab) return Bad("an added token's id is too large");
  }
  if (info.added_raw != kNone) SMELT_TRY(Open(info.added_raw, rows, &out->added_raw_));
  if (info.added_normalized != kNone)
    SMELT_TRY(Open(info.added_normalized, rows, &out->added_normalized_));
  return Open(info.characters, 4, &out->characters_);
}

Result<Tokenizer> Tokenizer::Open(const void* bytes, size_t size) {
  Tokenizer made;
  SMELT_TRY(Opener(static_cast<const uint8_t*>(bytes), size).Run(&made));
  return made;
}

}  // namespace smelt::text
