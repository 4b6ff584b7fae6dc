// Typed views of checked tables; looking something up needs no further check.
#pragma once

#include <cstring>

#include "text/format.h"
#include "text/utf8.h"

namespace smelt::text {

struct Classes {
  const uint16_t* blocks = nullptr;
  const uint8_t* values = nullptr;
  const uint8_t* ascii = nullptr;
  uint8_t operator[](uint32_t code) const {
    return values[blocks[code >> 7] * 128u + (code & 127)];
  }
};

struct Map {
  const uint16_t* blocks = nullptr;
  const uint16_t* values = nullptr;
  uint16_t operator[](uint32_t code) const {
    return values[blocks[code >> 7] * 128u + (code & 127)];
  }
};

struct Strings {
  uint32_t count = 0;
  const uint32_t* offsets = nullptr;
  const uint8_t* bytes = nullptr;
  const uint8_t* data(uint32_t i) const { return bytes + offsets[i]; }
  uint32_t size(uint32_t i) const { return offsets[i + 1] - offsets[i]; }
};

struct Automaton {
  Classes classes;
  uint32_t columns = 0;
  const uint16_t* next = nullptr;

  // The end of the match that starts at `at`, or kNone.
  uint32_t Match(const uint8_t* text, uint32_t at, uint32_t size) const {
    uint32_t last = kNone, state = 1;
    while (at < size) {
      const uint8_t byte = text[at];
      uint32_t column, bytes = 1;
      if (byte < 0x80) {
        column = classes.ascii[byte];
      } else {
        const Char c = Decode(text + at, text + size);
        column = classes[c.code];
        bytes = c.bytes;
      }
      const uint16_t to = next[state * columns + column];
      if (to & kMatched) last = at;
      state = to & kState;
      if (!state) return last;
      at += bytes;
    }
    return next[state * columns + columns - 1] & kMatched ? at : last;
  }
};

struct Trie {
  uint32_t nodes = 0;
  const uint32_t* root = nullptr;   // [256]: child of the root, 0 for none
  const uint32_t* first = nullptr;  // [nodes + 1]: children lie one behind the other
  const uint32_t* value = nullptr;
  const uint8_t* label = nullptr;

  // The child of a node along a byte; 0 when there is none.
  uint32_t Child(uint32_t node, uint8_t byte) const {
    if (node == 0) return root[byte];
    uint32_t low = first[node], high = first[node + 1];
    while (high - low > 8) {
      const uint32_t middle = (low + high) / 2;
      (label[middle] <= byte ? low : high) = middle;
    }
    for (; low < high; ++low) {
      if (label[low] == byte) return low;
    }
    return 0;
  }
};

struct Pairs {
  uint32_t shift = 63;
  const PairSlot* slots = nullptr;

  const PairSlot* Find(uint32_t left, uint32_t right) const {
    const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
    const PairSlot* slot = slots + (key * 0x9e3779b97f4a7c15u >> shift);
    for (; slot->id != kNone; ++slot) {  // the last slot is empty
      if (slot->left == left && slot->right == right) return slot;
    }
    return nullptr;
  }
};

struct Words {
  uint32_t shift = 63;
  const WordSlot* slots = nullptr;
  Strings strings;

  static uint64_t Hash(const uint8_t* p, uint32_t bytes) {
    uint64_t h = bytes * 0x9e3779b97f4a7c15u;
    for (; bytes >= 8; bytes -= 8, p += 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      h = Mix(h ^ word);
    }
    if (bytes) {
      uint64_t word = 0;
      for (uint32_t i = 0; i < bytes; ++i) word |= static_cast<uint64_t>(p[i]) << 8 * i;
      h = Mix(h ^ word);
    }
    return h;
  }
  static uint64_t Mix(uint64_t h) {
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ h >> 32;
  }

  // The id of a word, perhaps with kWhole; kNone when there is none.
  uint32_t Find(const uint8_t* p, uint32_t bytes) const {
    const uint64_t h = Hash(p, bytes);
    const WordSlot* slot = slots + (h * 0x9e3779b97f4a7c15u >> shift);
    for (; slot->id != kNone; ++slot) {
      if (slot->print != static_cast<uint32_t>(h)) continue;
      const uint32_t id = slot->id & ~kWhole;
      if (strings.size(id) == bytes && std::memcmp(strings.data(id), p, bytes) == 0)
        return slot->id;
    }
    return kNone;
  }
};

}  // namespace smelt::text
