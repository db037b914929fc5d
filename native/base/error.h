// The one exception type of the native code. It crosses into JavaScript in one place (addon/engine_thread.cc).
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

namespace gleaner {

/// `code` is one of the ERR_GLEANER_… codes of src/common/errors.ts; `what()` names the value at fault; `hint` the next
/// step.
struct Error : std::runtime_error {
  Error(std::string error_code, const std::string& message, std::string error_hint = {})
      : std::runtime_error(message), code(std::move(error_code)), hint(std::move(error_hint)) {}
  std::string code;
  std::string hint;
};

/// Thrown when the caller asked a long command to end; becomes Node's AbortError.
struct Aborted : Error {
  Aborted() : Error("ABORT_ERR", "The operation was aborted") {}
};

}  // namespace gleaner
