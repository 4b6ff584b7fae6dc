#include "core/saved_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/checked.h"
#include "core/crc32.h"

namespace smelt {
namespace {

constexpr uint8_t kMagicState[8] = {'s', 'm', 'e', 'l', 't', 's', 't', 0x1a};
constexpr uint32_t kStateVersion = 1;

struct Head {
  uint8_t magic[8];
  uint32_t version, slots;
  uint64_t fingerprint, tokens, held, bytes;  // bytes: of all behind the head
  uint32_t crc, zero;
  uint64_t more;
};
static_assert(sizeof(Head) == 64);

struct SlotHead {
  int64_t dims[kMaxRank];
  uint64_t bytes, is_held, zero;
};
static_assert(sizeof(SlotHead) == 72);

// Calls use(data, bytes) for each piece of what a slot holds.
template <typename Use>
void ForPieces(const SlotState& slot, const Use& use) {
  if (!slot.held) return;
  if (!slot.append()) {
    int64_t bytes = ElemBytes(slot.elem());
    for (uint32_t axis = 0; axis < slot.record->rank; ++axis) bytes *= slot.dims[axis];
    return use(slot.data, bytes);
  }
  const KvCache& c = slot.cache;
  const int64_t length = slot.length(), kept = std::min(length, c.capacity);
  const int64_t first = slot.ring() ? (length - kept) % c.capacity : 0;
  const int64_t head = std::min(kept, c.capacity - first);  // up to where a ring begins again
  const auto rows = [&](uint8_t* data, int64_t width) {
    for (int64_t row = 0; row < slot.dims[0] * c.heads; ++row) {
      uint8_t* start = data + row * c.capacity * width;
      use(start + first * width, head * width);
      use(start, (kept - head) * width);
    }
  };
  rows(slot.data, c.dim * ElemBytes(slot.elem()));
  if (c.scales) rows(reinterpret_cast<uint8_t*>(c.scales), sizeof(float));
}

uint64_t BytesOf(const SlotState& slot) {
  uint64_t total = 0;
  ForPieces(slot, [&](const uint8_t*, int64_t bytes) { total += static_cast<uint64_t>(bytes); });
  return total;
}

// Writes and sums up; the first failure stays.
class Writer {
 public:
  explicit Writer(int file) : file_(file) {}
  void Write(const void* data, size_t bytes) {
    crc_ = Crc32(crc_, data, bytes);
    written_ += bytes;
    const uint8_t* at = static_cast<const uint8_t*>(data);
    while (bytes && !failed_) {
      const ssize_t done = ::write(file_, at, bytes);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) failed_ = errno ? errno : EIO;
      if (done > 0) at += done, bytes -= static_cast<size_t>(done);
    }
  }
  int failed() const { return failed_; }
  uint32_t crc() const { return crc_; }
  uint64_t written() const { return written_; }

 private:
  int file_, failed_ = 0;
  uint32_t crc_ = 0;
  uint64_t written_ = 0;
};

Status Failed(const char* path, int reason) {
  return Error(Code::kIo, "%s: %s", path, std::strerror(reason));
}

}  // namespace

// Of everything that decides what state means; not of the certificate, which comes later.
uint64_t SavedState::Fingerprint(const Model& model) {
  uint32_t crc[2] = {0, 1};
  for (uint32_t i = 0; i < Model::SegmentIndex(Segment::kFiles); ++i) {
    const SegmentRecord& segment = model.segments_[i];
    for (uint32_t& sum : crc) {
      sum = Crc32(sum, &segment.crc, sizeof segment.crc);
      sum = Crc32(sum, &segment.bytes, sizeof segment.bytes);
    }
  }
  return uint64_t{crc[0]} << 32 | crc[1];
}

Status SavedState::Save(const Session& session, const std::vector<int64_t>& held,
                        const char* path) {
  if (session.broken_)
    return Error(Code::kState, "an earlier call failed half way: nothing to save");
  std::string scratch = std::string(path) + ".XXXXXX";
  const int file = ::mkstemp(scratch.data());
  if (file < 0) return Failed(path, errno);
  Head head = {};
  Writer body(file);
  body.Write(&head, sizeof head);  // its place
  Writer counted(file);
  counted.Write(held.data(), held.size() * sizeof(int64_t));
  for (const SlotState& slot : session.slots_) {
    SlotHead about = {};
    about.is_held = slot.held;
    if (slot.held) std::copy(slot.dims, slot.dims + kMaxRank, about.dims);
    about.bytes = BytesOf(slot);
    counted.Write(&about, sizeof about);
    ForPieces(slot, [&](const uint8_t* data, int64_t bytes) {
      counted.Write(data, static_cast<size_t>(bytes));
    });
  }
  std::memcpy(head.magic, kMagicState, sizeof head.magic);
  head.version = kStateVersion;
  head.slots = static_cast<uint32_t>(session.slots_.size());
  head.fingerprint = Fingerprint(session.model());
  head.tokens = static_cast<uint64_t>(session.tokens_);
  head.held = held.size();
  head.bytes = counted.written();
  head.crc = counted.crc();
  int failed = body.failed() ? body.failed() : counted.failed();
  if (!failed && ::pwrite(file, &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head))
    failed = EIO;
  if (!failed && ::fsync(file) != 0) failed = errno;
  if (::close(file) != 0 && !failed) failed = errno;
  if (!failed && ::rename(scratch.c_str(), path) != 0) failed = errno;
  if (!failed) return Status();
  ::unlink(scratch.c_str());
  return Failed(path, failed);
}

// Takes pieces off the front of the file's bytes.
class SavedState::Reader {
 public:
  Reader(const uint8_t* data, size_t bytes) : at_(data), left_(bytes) {}
  const uint8_t* Take(uint64_t bytes) {
    if (bytes > left_) return nullptr;
    const uint8_t* found = at_;
    at_ += bytes;
    left_ -= static_cast<size_t>(bytes);
    return found;
  }
  size_t left() const { return left_; }

  // What a slot would hold, with the session's own memory; its bytes in the file are `*from`.
  Status Slot(SlotState* slot, const uint8_t** from) {
    SlotHead about;
    const uint8_t* head = Take(sizeof about);
    if (!head) return Error(Code::kBadFile, "ends inside state `%s`", slot->name);
    std::memcpy(&about, head, sizeof about);
    if (about.is_held > 1 || about.zero) return Error(Code::kBadFile, "state `%s`", slot->name);
    slot->held = about.is_held == 1;
    std::copy(about.dims, about.dims + kMaxRank, slot->dims);
    int64_t most = ElemBytes(slot->elem());
    for (uint32_t axis = 0; axis < kMaxRank; ++axis) {
      const int64_t size = slot->dims[axis];
      const bool is_used = slot->held && axis < slot->record->rank;
      bool fits = is_used ? size >= 0 : size == 0;
      if (is_used && slot->append()) {
        const bool is_free = axis == 0 || axis == slot->record->axis;
        const int64_t limit = axis == slot->record->axis ? slot->most : slot->limits[axis];
        fits = is_free ? size >= 0 && size <= limit : size == limit;
      } else if (is_used) {
        fits = fits && CheckedMul(most, size, &most) && most <= slot->bytes;
      }
      if (!fits) {
        return Error(Code::kInvalidArgument, "state `%s` has %lld on axis %u, which does not fit",
                     slot->name, static_cast<long long>(size), axis);
      }
    }
    if (about.bytes != BytesOf(*slot)) {
      return Error(Code::kInvalidArgument,
                   "state `%s` has %llu bytes, %llu fit: saved with another context or window",
                   slot->name, static_cast<unsigned long long>(about.bytes),
                   static_cast<unsigned long long>(BytesOf(*slot)));
    }
    *from = Take(about.bytes);
    return *from ? Status() : Error(Code::kBadFile, "ends inside state `%s`", slot->name);
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

Status SavedState::Load(Session* session, std::vector<int64_t>* held, const char* path) {
  Result<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return std::move(file.status());
  Head head = {};
  if (file->bytes() >= sizeof head) std::memcpy(&head, file->data(), sizeof head);
  if (std::memcmp(head.magic, kMagicState, sizeof head.magic) != 0)
    return Error(Code::kBadFile, "%s: not the state of a session", path);
  if (head.version != kStateVersion) {
    return Error(Code::kUnsupported, "%s: state of version %u, this runtime reads %u", path,
                 head.version, kStateVersion);
  }
  const uint8_t* body = file->data() + sizeof head;
  const size_t bytes = file->bytes() - sizeof head;
  if (head.bytes != bytes || head.zero || head.more || Crc32(0, body, bytes) != head.crc)
    return Error(Code::kBadFile, "%s: the checksum does not fit: the file is damaged", path);
  if (head.fingerprint != Fingerprint(session->model()) || head.slots != session->slots_.size())
    return Error(Code::kInvalidArgument, "%s: saved by a session of another model", path);
  const uint64_t context = static_cast<uint64_t>(std::max<int64_t>(session->context(), 0));
  const bool is_known = head.held == 0 || head.held == head.tokens;
  if (!is_known || head.held > std::max<uint64_t>(context, session->past()) ||
      head.tokens > kMaxBytes) {
    return Error(Code::kInvalidArgument, "%s: %llu tokens do not fit a context of %llu", path,
                 static_cast<unsigned long long>(head.tokens),
                 static_cast<unsigned long long>(context));
  }
  Reader reader(body, bytes);
  const uint8_t* tokens = reader.Take(head.held * sizeof(int64_t));
  std::vector<SlotState> slots = session->slots_;
  std::vector<const uint8_t*> from(slots.size());
  Status status = tokens ? Status() : Error(Code::kBadFile, "ends inside its tokens");
  for (size_t i = 0; i < slots.size() && status.ok(); ++i)
    status = reader.Slot(&slots[i], &from[i]);
  if (status.ok() && reader.left())
    status = Error(Code::kBadFile, "there are bytes behind the end");
  if (!status.ok()) return std::move(status).In("%s", path);
  for (size_t i = 0; i < slots.size(); ++i) {
    const uint8_t* at = from[i];
    ForPieces(slots[i], [&at](uint8_t* data, int64_t size) {
      if (size) std::memcpy(data, at, static_cast<size_t>(size));
      at += size;
    });
    slots[i].next = -1;
    session->slots_[i] = slots[i];  // in its place: calls point to it
  }
  session->tokens_ = static_cast<int64_t>(head.tokens);
  session->broken_ = false;
  held->resize(head.held);
  if (head.held) std::memcpy(held->data(), tokens, head.held * sizeof(int64_t));
  return Status();
}

}  // namespace smelt
