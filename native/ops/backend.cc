// From names to a backend.
#include <string>

#include "base/cpu_features.h"
#include "base/error.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/ops.h"

namespace gleaner {

std::unique_ptr<Ops> make_ops(const OpsOptions& options) {
  if (options.backend != "auto" && options.backend != "cpu") {
    throw Error("ERR_GLEANER_USAGE", "there is no backend named " + options.backend, "choose auto or cpu");
  }
  if (options.threads < 1)
    throw Error("ERR_GLEANER_USAGE", "threads is " + std::to_string(options.threads), "give 1 or more");
  return std::make_unique<cpu::CpuOps>(isa_named(options.isa), options.threads);
}

}  // namespace gleaner
