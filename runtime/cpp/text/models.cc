// The models that look words up: WordPiece, Unigram and WordLevel.
#include "text/encoder.h"

namespace smelt::text {

bool Encoder::WordLevel(const Piece& word) {
  const uint32_t found = t_.words_.Find(word.text, word.bytes);
  Emit(word, 0, word.bytes, found == kNone ? info_.unknown : found & ~kWhole);
  return true;
}

// The longest known beginning, then the longest known continuation, and so on; all or nothing.
bool Encoder::WordPiece(const Piece& word) {
  uint32_t characters = 0;
  for (uint32_t i = 0; i < word.bytes; ++i) characters += (word.text[i] & 0xc0) != 0x80;
  const size_t count = sink_.count;
  const uint32_t emitted = emitted_;
  bool known = characters <= info_.most_characters;
  for (uint32_t at = 0; known && at < word.bytes;) {
    const Trie& trie = at ? t_.tails_ : t_.heads_;
    uint32_t id = kNone, end = at, node = 0;
    for (uint32_t p = at; p < word.bytes; ++p) {
      node = trie.Child(node, word.text[p]);
      if (!node) break;
      if (trie.value[node] != kNone) id = trie.value[node], end = p + 1;
    }
    known = id != kNone;
    if (known) Emit(word, at, end, id);
    at = end;
  }
  if (!known) {
    sink_.count = count;
    emitted_ = emitted;
    Emit(word, 0, word.bytes, info_.unknown);
  }
  return true;
}

// The path of the best sum of scores; unknown characters side by side are one token.
bool Encoder::Unigram(const Piece& word) {
  struct Node {
    double score;
    uint32_t from, id;
  };
  const uint32_t size = word.bytes;
  const Scratch::Mark mark = scratch_.mark();
  Node* best = scratch_.Take<Node>(size_t{size} + 1);
  if (!best) return false;
  for (uint32_t i = 0; i <= size; ++i) best[i] = {0, kNone, 0};
  const auto offer = [&](uint32_t from, uint32_t to, double score, uint32_t id) {
    Node& node = best[to];
    score += best[from].score;
    if (node.from == kNone || score > node.score) node = {score, from, id};
  };
  const uint8_t* const end = word.text + size;
  for (uint32_t at = 0; at < size;) {
    const uint32_t bytes = Decode(word.text + at, end).bytes;
    bool has_single = false;
    uint32_t node = 0;
    for (uint32_t p = at; p < size; ++p) {
      node = t_.heads_.Child(node, word.text[p]);
      if (!node) break;
      const uint32_t id = t_.heads_.value[node];
      if (id == kNone) continue;
      offer(at, p + 1, t_.scores_[id], id);
      has_single |= p + 1 - at == bytes;
    }
    if (!has_single) offer(at, at + bytes, t_.unknown_score_, info_.unknown);
    at += bytes;
  }
  // Turn the links around: afterwards best[b].from is where the piece that starts at b ends. A
  // damaged vocabulary may hold half characters; what no path reaches is unknown as a whole.
  uint32_t next = size, id = 0;
  for (uint32_t at = size; at > 0;) {
    const Node node = best[at];
    if (node.from == kNone || node.from >= at) {
      best[0] = {0, size, info_.unknown};
      next = kNone;
      break;
    }
    best[at].from = next;
    std::swap(best[at].id, id);
    next = at;
    at = node.from;
  }
  if (next != kNone) best[0].from = next, best[0].id = id;
  for (uint32_t at = 0; at < size;) {
    uint32_t to = best[at].from;
    uint32_t token = best[at].id;
    if (token == info_.unknown) {
      while (to < size && best[to].id == info_.unknown) to = best[to].from;
      const uint32_t found =
          to - at <= info_.longest ? t_.words_.Find(word.text + at, to - at) : kNone;
      if (found != kNone) {
        token = found & ~kWhole;
      } else if (HasBytes(word.text + at, to - at)) {
        for (uint32_t i = at; i < to; ++i) Emit(word, at, to, t_.byte_symbols_[word.text[i]]);
        at = to;
        continue;
      }
    }
    Emit(word, at, to, token);
    at = to;
  }
  scratch_.Release(mark);
  return true;
}

}  // namespace smelt::text
