#include "generation/settings.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

namespace smelt::generation {
namespace {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();
constexpr double kCounts = 2147483648.0;  // 2^31
constexpr size_t kNowhere = ~size_t{0};
constexpr char kPrefix[] = "generation.";

enum Flags : uint8_t {
  kPlain = 0,
  kSampler = 1,  // means nothing to a greedy choice
  kAbove = 2,    // the lower bound itself is out of range
};

// One number: its key in generation_config.json, its places, its neutral value and its range.
struct Number {
  const char* key;
  bool is_real;
  uint8_t flags;
  size_t given, kept;
  double neutral, low, high;
};

#define SMELT_REAL(key, name, flags, neutral, low, high) \
  {key, true, flags, offsetof(smelt_generation, name), offsetof(Settings, name), neutral, low, high}
#define SMELT_WHOLE(key, name, flags, neutral, low, high)                             \
  {key,     false, flags, offsetof(smelt_generation, name), offsetof(Settings, name), \
   neutral, low,   high}

const Number kNumbers[] = {
    SMELT_REAL("temperature", temperature, kPlain, 1, 0, 1e6),  // the first: see Resolve
    SMELT_REAL("top_h", top_h, kSampler | kAbove, 0, 0, 1),
    SMELT_WHOLE("top_k", top_k, kSampler, 0, 0, kCounts),
    SMELT_REAL("top_p", top_p, kSampler | kAbove, 1, 0, 1),
    SMELT_REAL("min_p", min_p, kSampler, 0, 0, 1),
    SMELT_REAL("typical_p", typical_p, kSampler | kAbove, 1, 0, 1),
    SMELT_REAL("epsilon_cutoff", epsilon_cutoff, kSampler, 0, 0, 1),
    SMELT_REAL("eta_cutoff", eta_cutoff, kSampler, 0, 0, 1),
    SMELT_WHOLE("max_new_tokens", max_new_tokens, kPlain, -1, 1, kCounts),
    {"max_length", false, kPlain, kNowhere, offsetof(Settings, max_length), -1, 0, kCounts},
    SMELT_WHOLE("min_new_tokens", min_new_tokens, kPlain, 0, 0, kCounts),
    SMELT_WHOLE("min_length", min_length, kPlain, 0, 0, kCounts),
    SMELT_REAL("max_time", max_time, kAbove, 1e9, 0, 1e9),
    SMELT_WHOLE("row", row, kPlain, 0, 0, 4294967295.0),
    SMELT_WHOLE("logprobs", logprobs, kPlain, -1, 0, 1000),
    SMELT_REAL("encoder_repetition_penalty", encoder_repetition_penalty, kAbove, 1, 0, 1e6),
    SMELT_REAL("repetition_penalty", repetition_penalty, kAbove, 1, 0, 1e6),
    SMELT_REAL("frequency_penalty", frequency_penalty, kPlain, 0, -1e6, 1e6),
    SMELT_REAL("presence_penalty", presence_penalty, kPlain, 0, -1e6, 1e6),
    SMELT_WHOLE("no_repeat_ngram_size", no_repeat_ngram_size, kPlain, 0, 0, kCounts),
    SMELT_WHOLE("encoder_no_repeat_ngram_size", encoder_no_repeat_ngram_size, kPlain, 0, 0,
                kCounts),
    SMELT_WHOLE("forced_bos_token_id", forced_bos, kPlain, -1, 0, kCounts),
    SMELT_WHOLE("exponential_decay_length_penalty", decay_start, kPlain, -1, 0, kCounts),
    SMELT_REAL("exponential_decay_length_penalty.factor", decay_factor, kAbove, kNoNumber, 0, 1e6),
    SMELT_REAL("watermarking_config.bias", watermark_bias, kPlain, kNoNumber, -1e6, 1e6),
    SMELT_REAL("watermarking_config.greenlist_ratio", watermark_ratio, kPlain, 0.25, 0, 1),
    SMELT_WHOLE("watermarking_config.hashing_key", watermark_key, kPlain, 15485863, 1,
                1099511627776.0),
    SMELT_WHOLE("watermarking_config.context_width", watermark_width, kPlain, 1, 1, 65536),
    SMELT_WHOLE("watermarking_config.selfhash", watermark_self, kPlain, 0, 0, 1),
    SMELT_WHOLE("reuse", reuse, kPlain, 0, 0, 1),
};

// Token ids by their key.
struct Ids {
  const char* key;
  size_t given, kept;
};
const Ids kIds[] = {
    {"eos_token_id", offsetof(smelt_generation, eos), offsetof(Settings, eos)},
    {"forced_eos_token_id", offsetof(smelt_generation, forced_eos), offsetof(Settings, forced_eos)},
    {"suppress_tokens", offsetof(smelt_generation, suppress), offsetof(Settings, suppress)},
    {"begin_suppress_tokens", offsetof(smelt_generation, begin_suppress),
     offsetof(Settings, begin_suppress)},
};

template <typename T>
T& At(void* base, size_t offset) {
  return *reinterpret_cast<T*>(static_cast<char*>(base) + offset);
}
template <typename T>
const T& At(const void* base, size_t offset) {
  return *reinterpret_cast<const T*>(static_cast<const char*>(base) + offset);
}

double FromBits(int64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

int64_t ToBits(double value) {
  int64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

Status Check(const Number& number, const Settings& settings) {
  const double value = number.is_real ? At<double>(&settings, number.kept)
                                      : static_cast<double>(At<int64_t>(&settings, number.kept));
  const bool above = number.flags & kAbove;
  if (value >= number.low && value <= number.high && !(above && value == number.low))
    return Status();
  return Error(Code::kInvalidArgument, "`%s` is %g, wants %s in %c%g, %g]", number.key, value,
               number.is_real ? "a number" : "a whole number", above ? '(' : '[', number.low,
               number.high);
}

Status CheckIds(const char* key, const int64_t* ids, size_t count, int64_t vocabulary) {
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      return Error(Code::kInvalidArgument, "`%s` has token %lld, the vocabulary has %lld", key,
                   static_cast<long long>(ids[i]), static_cast<long long>(vocabulary));
    }
  }
  return Status();
}

// The lengths of flat sequences fit, nothing is empty, all tokens are known.
Status CheckSequences(const char* key, const std::vector<int64_t>& flat, bool is_biased,
                      int64_t vocabulary) {
  const int64_t size = static_cast<int64_t>(flat.size());
  for (int64_t at = 0; at < size;) {
    const int64_t count = flat[static_cast<size_t>(at)];
    if (count < 1 || count > size - at - 1 - is_biased) {
      return Error(Code::kInvalidArgument, "`%s` has a sequence of %lld tokens", key,
                   static_cast<long long>(count));
    }
    const int64_t* ids = flat.data() + at + 1;
    SMELT_TRY(CheckIds(key, ids, static_cast<size_t>(count), vocabulary));
    at += 1 + count + is_biased;
    if (is_biased && std::isnan(FromBits(flat[static_cast<size_t>(at - 1)]))) {
      return Error(Code::kInvalidArgument, "`%s` has a bias that is no number", key);
    }
  }
  return Status();
}

bool IsLeftOut(const smelt_generation* given, const char* key) {
  if (!given) return false;
  for (size_t i = 0; i < given->without_count; ++i) {
    const size_t size = std::strlen(given->without[i]);
    if (std::strncmp(given->without[i], key, size) != 0) continue;
    if (key[size] == 0 || key[size] == '.' || key[size] == '=') return true;
  }
  return false;
}

void Flatten(const smelt_ids& from, std::vector<int64_t>* flat) {
  flat->push_back(static_cast<int64_t>(from.count));
  flat->insert(flat->end(), from.ids, from.ids + from.count);
}

uint64_t RandomSeed() {
  uint32_t word = 0;
  if (::getentropy(&word, sizeof word) == 0) return word;
  return static_cast<uint32_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

class Resolver {
 public:
  Resolver(const Model& model, const smelt_generation* given, Settings* out)
      : model_(model), given_(given), out_(*out) {}

  Status Run(int64_t vocabulary) {
    Neutral();
    bool is_sampled = false;
    SMELT_TRY(Temperature(&is_sampled));
    const bool from_file = is_sampled && model_.Setting("generation.do_sample", 0) != 0;
    SMELT_TRY(FromFile(from_file));
    SMELT_TRY(FromCall());
    out_.seed = given_ ? given_->seed : SMELT_RANDOM;
    if (out_.seed == SMELT_RANDOM) out_.seed = is_sampled ? RandomSeed() : 0;
    if (out_.max_new_tokens < 0) {
      out_.max_new_tokens = out_.max_length >= 0 ? out_.max_length : kDefaultNewTokens;
    } else {
      out_.max_length = -1;
    }
    for (const Number& number : kNumbers) {
      const bool is_set = number.is_real ? At<double>(&out_, number.kept) != number.neutral
                                         : At<int64_t>(&out_, number.kept) != number.neutral;
      const bool is_absent =
          std::isnan(number.neutral) && std::isnan(At<double>(&out_, number.kept));
      if (is_set && !is_absent) SMELT_TRY(Check(number, out_));
    }
    if (out_.temperature > 0 && out_.temperature < 1e-6) {
      return Error(Code::kInvalidArgument, "`temperature` is %g, wants 0 (greedy) or at least 1e-6",
                   out_.temperature);
    }
    if ((out_.decay_start >= 0) != !std::isnan(out_.decay_factor)) {
      return Error(Code::kInvalidArgument, "`decay_start` and `decay_factor` go together");
    }
    for (const Ids& ids : kIds) {
      const auto& kept = At<std::vector<int64_t>>(&out_, ids.kept);
      SMELT_TRY(CheckIds(ids.key, kept.data(), kept.size(), vocabulary));
    }
    if (out_.forced_bos >= 0)
      SMELT_TRY(CheckIds("forced_bos_token_id", &out_.forced_bos, 1, vocabulary));
    SMELT_TRY(CheckSequences("bad_words_ids", out_.bad_words, false, vocabulary));
    return CheckSequences("sequence_bias", out_.sequence_bias, true, vocabulary);
  }

 private:
  static constexpr int64_t kDefaultNewTokens = 256;

  bool IsGiven(const Number& number) const {
    if (!given_ || number.given == kNowhere) return false;
    if (number.is_real) return !std::isnan(At<double>(given_, number.given));
    return At<int64_t>(given_, number.given) != -1;
  }

  void Neutral() {
    for (const Number& number : kNumbers) {
      if (number.is_real)
        At<double>(&out_, number.kept) = number.neutral;
      else
        At<int64_t>(&out_, number.kept) = static_cast<int64_t>(number.neutral);
    }
    for (const Ids& ids : kIds) At<std::vector<int64_t>>(&out_, ids.kept).clear();
    out_.bad_words.clear();
    out_.sequence_bias.clear();
    out_.stop.clear();
  }

  // Whether tokens are drawn, as `options.resolve` decides it.
  Status Temperature(bool* is_sampled) {
    const Number* shaping = nullptr;
    for (const Number& number : kNumbers) {
      if ((number.flags & kSampler) && IsGiven(number) && !shaping) shaping = &number;
    }
    if (IsGiven(kNumbers[0])) {
      if (given_->temperature == 0 && shaping) {
        return Error(Code::kInvalidArgument,
                     "`%s` has no meaning at temperature 0, which is greedy", shaping->key);
      }
      *is_sampled = given_->temperature != 0;
      out_.temperature = given_->temperature;
    } else if (model_.Setting("generation.do_sample", 0) != 0) {
      const SettingRecord* told = Find("temperature");
      out_.temperature = told ? FromBits(told->value) : 1.0;
      *is_sampled = out_.temperature > 0;
    } else {
      *is_sampled = shaping != nullptr;
      out_.temperature = shaping ? 1.0 : 0.0;
    }
    return Status();
  }

  // What the key of a setting says behind "generation."; null when it is of something else.
  const char* Behind(const SettingRecord& record) const {
    const char* key = model_.Text(record.key);
    if (std::strncmp(key, kPrefix, sizeof kPrefix - 1) == 0) return key + sizeof kPrefix - 1;
    return std::strcmp(key, "eos_token_id") == 0 ? key : nullptr;
  }

  const SettingRecord* Find(const char* name) const {
    for (const SettingRecord& record : model_.settings) {
      const char* key = Behind(record);
      if (key && std::strcmp(key, name) == 0) return &record;
    }
    return nullptr;
  }

  Status FromFile(bool samplers) {
    for (const SettingRecord& record : model_.settings) {
      const char* key = Behind(record);
      if (!key || std::strcmp(key, "do_sample") == 0 || std::strcmp(key, "temperature") == 0)
        continue;
      constexpr char kLacks[] = "lacks.", kStop[] = "stop_strings=";
      if (std::strncmp(key, kLacks, sizeof kLacks - 1) == 0) {
        key += sizeof kLacks - 1;
        if (IsLeftOut(given_, key)) continue;
        return Error(Code::kUnsupported,
                     "the model's generation_config.json asks for %s, which C++ lacks "
                     "(smelt_generation.without leaves it out)",
                     key);
      }
      if (IsLeftOut(given_, key)) continue;
      if (std::strncmp(key, kStop, sizeof kStop - 1) == 0) {
        if (!given_ || !given_->stop) out_.stop.emplace_back(key + sizeof kStop - 1);
        continue;
      }
      if (!Place(key, record.value, samplers)) {
        return Error(Code::kUnsupported,
                     "the file has the generation setting `%.64s`, which this runtime lacks", key);
      }
    }
    return Status();
  }

  bool Place(const char* key, int64_t value, bool samplers) {
    for (const Number& number : kNumbers) {
      if (std::strcmp(number.key, key) != 0) continue;
      if ((number.flags & kSampler) && !samplers) return true;
      if (number.is_real)
        At<double>(&out_, number.kept) = FromBits(value);
      else
        At<int64_t>(&out_, number.kept) = value;
      return true;
    }
    for (const Ids& ids : kIds) {
      if (std::strcmp(ids.key, key) != 0) continue;
      At<std::vector<int64_t>>(&out_, ids.kept).push_back(value);
      return true;
    }
    const bool is_words = std::strcmp(key, "bad_words_ids") == 0;
    if (!is_words && std::strcmp(key, "sequence_bias") != 0) return false;
    (is_words ? out_.bad_words : out_.sequence_bias).push_back(value);
    return true;
  }

  Status FromCall() {
    if (!given_) return Status();
    for (const Number& number : kNumbers) {
      if (!IsGiven(number)) continue;
      if (number.is_real)
        At<double>(&out_, number.kept) = At<double>(given_, number.given);
      else
        At<int64_t>(&out_, number.kept) = At<int64_t>(given_, number.given);
      SMELT_TRY(Check(number, out_));
    }
    for (const Ids& ids : kIds) {
      const smelt_ids& from = At<smelt_ids>(given_, ids.given);
      if (from.ids)
        At<std::vector<int64_t>>(&out_, ids.kept).assign(from.ids, from.ids + from.count);
    }
    if (given_->bad_words) {
      out_.bad_words.clear();
      for (size_t i = 0; i < given_->bad_words_count; ++i)
        Flatten(given_->bad_words[i], &out_.bad_words);
    }
    if (given_->sequence_bias) {
      out_.sequence_bias.clear();
      for (size_t i = 0; i < given_->sequence_bias_count; ++i) {
        Flatten(given_->sequence_bias[i].tokens, &out_.sequence_bias);
        out_.sequence_bias.push_back(ToBits(given_->sequence_bias[i].bias));
      }
    }
    for (size_t i = 0; given_->stop && i < given_->stop_count; ++i) {
      if (!given_->stop[i] || !*given_->stop[i])
        return Error(Code::kInvalidArgument, "`stop` wants strings that are not empty");
      out_.stop.emplace_back(given_->stop[i]);
    }
    return Status();
  }

  const Model& model_;
  const smelt_generation* given_;
  Settings& out_;
};

}  // namespace

Status Settings::Resolve(const Model& model, const smelt_generation* given, int64_t vocabulary) {
  if (given) SMELT_TRY(CheckSize("smelt_generation", given->struct_bytes, sizeof *given));
  return Resolver(model, given, this).Run(vocabulary);
}

}  // namespace smelt::generation
