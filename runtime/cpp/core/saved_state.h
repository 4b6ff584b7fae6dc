// A session's state in a file, to go on from later: in this session, or in another of the same
// model.
#pragma once

#include <vector>

#include "core/session.h"

namespace smelt {

// `held` are the tokens that the state stands for, empty where that is not known.
//
//   head (64) · tokens i64[held] · for each slot: head (72), then entries oldest first, as stored
//
// Little-endian. Save writes another name in the same folder, syncs and renames. Load refuses, and
// changes nothing, when the file is damaged, is of another model, or does not fit this session.
class SavedState {
 public:
  static Status Save(const Session& session, const std::vector<int64_t>& held, const char* path);
  static Status Load(Session* session, std::vector<int64_t>* held, const char* path);

 private:
  class Reader;
  static uint64_t Fingerprint(const Model& model);
};

}  // namespace smelt
