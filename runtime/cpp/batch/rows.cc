#include "batch/rows.h"

#include <algorithm>
#include <utility>

namespace smelt::batch {

namespace {

// A call takes about as long as for so many tokens, however few it has.
constexpr int64_t kLeastFed = 8;

}  // namespace

smelt_batch_event Rows::Ended(int64_t request, const Status& error) {
  smelt_batch_event event = {};
  event.request = request;
  event.token.id = -1;
  event.token.finish = SMELT_STOPPED;
  event.error = static_cast<smelt_code>(error.code());
  event.message = error.ok() ? nullptr : error.message();
  return event;
}

Result<std::unique_ptr<Rows>> Rows::Open(std::unique_ptr<Session> session, int64_t chunk) {
  std::unique_ptr<Rows> made(new Rows);
  Result<generation::Ports> ports = generation::Ports::Find(session->model());
  if (!ports.ok()) return std::move(ports.status());
  made->ports_ = *ports;
  SMELT_TRY(session->OpenRows(made->ports_.function));
  if (session->context() < 1)
    return Error(Code::kInvalidArgument, "the context length must be given");
  made->chunk_ = std::max<int64_t>(1, std::min(chunk, session->chunk()));
  const int64_t vocabulary = generation::VocabularyOf(session->model());
  for (int i = 0; i < session->pool()->threads(); ++i) made->work_.emplace_back(vocabulary);
  const size_t rows = static_cast<size_t>(session->rows());
  made->chosen_.resize(rows);
  const size_t context = static_cast<size_t>(session->context());
  const size_t fed = std::max(rows, static_cast<size_t>(made->chunk_));
  made->rows_.resize(rows);
  for (Row& row : made->rows_) row.tokens.reserve(context);
  made->ids_.resize(fed);
  made->positions_.resize(fed);
  made->order_.resize(rows);
  if (made->ports_.mask != kNone) made->ones_.assign(rows * context, 1);
  session->Ask(1);
  made->session_ = std::move(session);
  return made;
}

// The longest beginning of a prompt that a row's state can go back to; its last token is fed anew.
Rows::Found Rows::LongestBeginning(const std::vector<int64_t>& prompt) const {
  Found best;
  for (int64_t i = 0; i < count(); ++i) {
    const Row& row = rows_[static_cast<size_t>(i)];
    const size_t most = std::min(row.tokens.size(), prompt.size() - 1);
    const auto end = std::mismatch(prompt.begin(), prompt.begin() + static_cast<int64_t>(most),
                                   row.tokens.begin());
    const int64_t length = end.first - prompt.begin();
    // Of two that are equally long a free one, which need not be copied.
    const bool better = length > best.length ||
                        (length == best.length && best.row >= 0 && !row.request && length > 0);
    if (better && session_->Keeps(i, length)) best = {i, length};
  }
  return best;
}

// Where a new request goes: on from what a free row holds, if that is mostly the request's own;
// else into an empty row, or the one that has been free for longest.
int64_t Rows::FreeRow(const Found& found) const {
  if (found.row >= 0) {
    const Row& source = rows_[static_cast<size_t>(found.row)];
    const int64_t held = static_cast<int64_t>(source.tokens.size());
    if (!source.request && 2 * found.length >= held) return found.row;
  }
  int64_t best = -1;
  for (int64_t i = 0; i < count(); ++i) {
    const Row& row = rows_[static_cast<size_t>(i)];
    if (row.request) continue;
    if (row.tokens.empty()) return i;
    if (best < 0 || best == found.row ||
        (i != found.row && row.used < rows_[static_cast<size_t>(best)].used)) {
      best = i;
    }
  }
  return best;
}

void Rows::Admit(std::unique_ptr<Request> request) {
  Found found = LongestBeginning(request->prompt);
  const int64_t at = FreeRow(found);
  Row& row = rows_[static_cast<size_t>(at)];
  Status status = found.length > 0 ? session_->CopyRow(found.row, at, found.length)
                                   : session_->ShortenRow(at, 0);
  if (!status.ok()) {  // never: LongestBeginning asked
    found.length = 0;
    static_cast<void>(session_->ShortenRow(at, 0));
  }
  row.tokens.assign(request->prompt.begin(), request->prompt.begin() + found.length);
  prompt_tokens += static_cast<int64_t>(request->prompt.size());
  reused_tokens += found.length;
  row.request = std::move(request);
  ++running_;
  // The clock of max_time starts here; Submit has seen that the prompt fits.
  status = row.request->sampler.Begin(row.request->prompt.data(), row.request->prompt.size());
  if (!status.ok()) row.request->error = std::move(status);
}

void Rows::Step(std::vector<smelt_batch_event>* events,
                std::vector<std::unique_ptr<Request>>* ended) {
  events_ = events;
  ended_ = ended;
  if (session_->adjacent_rows()) CloseGaps();
  ++step_;
  for (int64_t left = chunk_, row; left > 0 && (row = NextPrompt()) >= 0;)
    left -= std::max(Prefill(row, left), kLeastFed);
  Decode();
}

// Where the rows of a call must be adjacent, the last ones move down into free places.
void Rows::CloseGaps() {
  int64_t last = count() - 1;
  for (int64_t i = 0; i < last; ++i) {
    Row& row = rows_[static_cast<size_t>(i)];
    if (row.request) continue;
    while (last > i && !rows_[static_cast<size_t>(last)].request) --last;
    if (last == i) return;
    Row& from = rows_[static_cast<size_t>(last)];
    const int64_t length = static_cast<int64_t>(from.tokens.size());
    if (!session_->CopyRow(last, i, length).ok()) return;
    row.tokens.assign(from.tokens.begin(), from.tokens.end());
    row.request = std::move(from.request);
    from.used = ++clock_;
  }
}

// The row whose prompt goes on, or -1; the prompts take turns.
int64_t Rows::NextPrompt() {
  for (int64_t i = 0; i < count(); ++i) {
    const int64_t at = (turn_ + i) % count();
    const Row& row = rows_[static_cast<size_t>(at)];
    if (!row.request || row.generates()) continue;
    turn_ = at + 1;
    return at;
  }
  return -1;
}

// Feeds at most so many tokens of a row's prompt, and chooses a token at its end; how many it fed.
int64_t Rows::Prefill(int64_t at, int64_t most) {
  Row& row = rows_[static_cast<size_t>(at)];
  if (!row.request->error.ok()) return Fail(at, std::move(row.request->error)), 0;
  const std::vector<int64_t>& prompt = row.request->prompt;
  const int64_t seq = std::min(most, static_cast<int64_t>(prompt.size() - row.tokens.size()));
  const auto first = prompt.begin() + static_cast<int64_t>(row.tokens.size());
  std::copy_n(first, seq, ids_.begin());
  float* logits = nullptr;
  int64_t stride = 0;
  Status status = Run(&at, 1, seq, &logits, &stride);
  if (!status.ok()) return Fail(at, std::move(status)), 0;
  row.tokens.insert(row.tokens.end(), first, first + seq);
  if (!row.generates()) return seq;
  row.begun = step_;
  Choose(&at, 1, logits, stride);
  return seq;
}

// One token of each row behind its prompt, but for those that have brought an event in this step.
void Rows::Decode() {
  int64_t taken = 0;
  for (int64_t i = 0; i < count(); ++i) {
    const Row& row = rows_[static_cast<size_t>(i)];
    if (row.begun != step_ && row.request && row.generates())
      order_[static_cast<size_t>(taken++)] = i;
  }
  if (!session_->adjacent_rows()) return DecodeRows(order_.data(), taken);
  for (int64_t first = 0, last; first < taken; first = last) {
    for (last = first + 1; last < taken && order_[static_cast<size_t>(last)] ==
                                               order_[static_cast<size_t>(last - 1)] + 1;) {
      ++last;
    }
    DecodeRows(order_.data() + first, last - first);
  }
}

void Rows::DecodeRows(const int64_t* rows, int64_t count) {
  if (count == 0) return;
  for (int64_t b = 0; b < count; ++b)
    ids_[static_cast<size_t>(b)] = rows_[static_cast<size_t>(rows[b])].next();
  float* logits = nullptr;
  int64_t stride = 0;
  Status status = Run(rows, count, 1, &logits, &stride);
  if (!status.ok()) {
    // The others must not suffer: each alone says whose fault it is.
    if (count == 1) return Fail(rows[0], std::move(status));
    for (int64_t b = 0; b < count; ++b) DecodeRows(rows + b, 1);
    return;
  }
  ++steps;
  step_rows += count;
  for (int64_t b = 0; b < count; ++b)
    rows_[static_cast<size_t>(rows[b])].tokens.push_back(ids_[static_cast<size_t>(b)]);
  Choose(rows, count, logits, stride);
}

// Feeds `seq` of ids_ to each row. The logits of row b's last token lie at *logits + b * *stride.
Status Rows::Run(const int64_t* rows, int64_t count, int64_t seq, float** logits, int64_t* stride) {
  int64_t longest = 0;
  for (int64_t b = 0; b < count; ++b) {
    const int64_t length = session_->row_length(rows[b]);
    longest = std::max(longest, length);
    for (int64_t i = 0; i < seq; ++i) positions_[static_cast<size_t>(b * seq + i)] = length + i;
  }
  if (longest + seq > session_->context()) {
    return Error(Code::kInvalidArgument, "%lld more tokens do not fit: %lld of %lld are used",
                 static_cast<long long>(seq), static_cast<long long>(longest),
                 static_cast<long long>(session_->context()));
  }
  InputArray inputs[3];
  const auto set = [&](uint32_t port, const int64_t* data, int64_t size) {
    if (port != kNone) inputs[port] = {data, Elem::kI64, 2, {count, size}};
  };
  set(ports_.ids, ids_.data(), seq);
  set(ports_.mask, ones_.data(), longest + seq);
  set(ports_.positions, positions_.data(), seq);
  SMELT_TRY(session_->RunRows(inputs, ports_.inputs, rows, count));
  return ports_.LastLogits(*session_, count, logits, stride);
}

// A token of each row, by the threads of the session; then what came of it, in the order of rows.
void Rows::Choose(const int64_t* rows, int64_t count, float* logits, int64_t stride) {
  ParallelFor(session_->pool(), count, [&](int64_t b, int thread) {
    generation::Sampler& sampler = rows_[static_cast<size_t>(rows[b])].request->sampler;
    generation::Workspace* work = &work_[static_cast<size_t>(thread)];
    chosen_[static_cast<size_t>(b)] = std::move(sampler.Choose(logits + b * stride, work).status());
  });
  for (int64_t b = 0; b < count; ++b) {
    const int64_t at = rows[b];
    Row& row = rows_[static_cast<size_t>(at)];
    Status& status = chosen_[static_cast<size_t>(b)];
    if (!status.ok()) {
      Fail(at, std::move(status));
      continue;
    }
    ++tokens;
    events_->push_back({row.request->id, row.request->sampler.token(), SMELT_OK, nullptr});
    if (!row.request->sampler.done()) continue;
    ++finished;
    End(at);
  }
}

void Rows::Fail(int64_t at, Status status) {
  Row& row = rows_[static_cast<size_t>(at)];
  row.request->error = std::move(status);
  events_->push_back(Ended(row.request->id, row.request->error));
  ++failed;
  // What the state holds may not be what the tokens say.
  row.tokens.clear();
  static_cast<void>(session_->ShortenRow(at, 0));
  End(at);
}

void Rows::End(int64_t at) {
  Row& row = rows_[static_cast<size_t>(at)];
  row.used = ++clock_;
  ended_->push_back(std::move(row.request));
  --running_;
}

bool Rows::Stop(int64_t request, std::vector<smelt_batch_event>* events,
                std::vector<std::unique_ptr<Request>>* ended) {
  events_ = events;
  ended_ = ended;
  for (int64_t i = 0; i < count(); ++i) {
    const Row& row = rows_[static_cast<size_t>(i)];
    if (!row.request || (request != 0 && row.request->id != request)) continue;
    events->push_back(Ended(row.request->id, Status()));
    End(i);
    if (request != 0) return true;
  }
  return false;
}

}  // namespace smelt::batch
