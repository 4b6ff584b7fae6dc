// The rows of a session and the requests in them: what a batcher's worker does to the model.
#pragma once

#include <memory>
#include <vector>

#include "core/session.h"
#include "generation/ports.h"
#include "generation/sampler.h"
#include "smelt/smelt.h"

namespace smelt::batch {

struct Request {
  int64_t id;
  std::vector<int64_t> prompt;
  generation::Sampler sampler;
  Status error;  // why it ended before its time
};

class Rows {
 public:
  static Result<std::unique_ptr<Rows>> Open(std::unique_ptr<Session> session, int64_t chunk);

  const Session& session() const { return *session_; }
  int64_t count() const { return static_cast<int64_t>(rows_.size()); }
  int64_t running() const { return running_; }

  // Gives a request a row, and what any row holds of its prompt.
  void Admit(std::unique_ptr<Request> request);
  // Feeds a chunk of prompts, then one token of each row behind its prompt; adds what came of it to
  // `events`, and the requests that ended to `ended`.
  void Step(std::vector<smelt_batch_event>* events, std::vector<std::unique_ptr<Request>>* ended);
  // Ends a request, if it is in a row.
  bool Stop(int64_t request, std::vector<smelt_batch_event>* events,
            std::vector<std::unique_ptr<Request>>* ended);

  // The event of a request that ends without another token.
  static smelt_batch_event Ended(int64_t request, const Status& error);

  // Counted since Open.
  int64_t tokens = 0, prompt_tokens = 0, reused_tokens = 0, steps = 0, step_rows = 0, finished = 0,
          failed = 0;

 private:
  struct Row {
    std::unique_ptr<Request> request;  // null: free, its tokens may be taken over
    std::vector<int64_t> tokens;       // that the state holds
    int64_t used = 0;                  // when it became free
    int64_t begun = -1;                // the step that brought its first token
    bool generates() const { return request && tokens.size() >= request->prompt.size(); }
    // The next token to feed.
    int64_t next() const { return request->sampler.tokens()[tokens.size()]; }
  };
  struct Found {
    int64_t row = -1, length = 0;
  };
  Rows() = default;
  Found LongestBeginning(const std::vector<int64_t>& prompt) const;
  int64_t FreeRow(const Found& found) const;
  void CloseGaps();
  int64_t NextPrompt();
  int64_t Prefill(int64_t row, int64_t most);
  void Decode();
  void DecodeRows(const int64_t* rows, int64_t count);
  Status Run(const int64_t* rows, int64_t count, int64_t seq, float** logits, int64_t* stride);
  void Choose(const int64_t* rows, int64_t count, float* logits, int64_t stride);
  void Fail(int64_t row, Status status);
  void End(int64_t row);

  std::unique_ptr<Session> session_;
  generation::Ports ports_;
  std::vector<generation::Workspace> work_;  // of each thread
  std::vector<Status> chosen_;               // of each row of a call
  int64_t chunk_ = 0, running_ = 0, clock_ = 0, turn_ = 0, step_ = 0;
  std::vector<Row> rows_;
  std::vector<int64_t> ids_, positions_, ones_, order_;
  std::vector<smelt_batch_event>* events_ = nullptr;
  std::vector<std::unique_ptr<Request>>* ended_ = nullptr;
};

}  // namespace smelt::batch
