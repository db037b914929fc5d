// Asked of the CPU at run time: one binary serves every x86-64, and other machines run the portable kernels.
#include "base/cpu_features.h"

#include <cstdlib>

#include "base/error.h"

namespace gleaner {

bool has_isa(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return true;
#if defined(__x86_64__)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && has_isa(Isa::avx2);
#else
    case Isa::avx2:
    case Isa::avx512:
      return false;
#endif
  }
  return false;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "";
}

Isa isa_named(const std::string& name) {
  if (name == "auto") return best_isa();
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (name != isa_name(isa)) continue;
    if (!has_isa(isa)) throw Error("ERR_GLEANER_USAGE", "this CPU has no " + name, "choose auto");
    return isa;
  }
  throw Error("ERR_GLEANER_USAGE", "there is no instruction set named " + name,
              "choose auto, portable, avx2 or avx512");
}

Isa best_isa() {
  if (const char* asked = std::getenv("GLEANER_ISA");
      asked != nullptr && *asked != '\0' && std::string(asked) != "auto")
    return isa_named(asked);
  for (const Isa isa : {Isa::avx512, Isa::avx2}) {
    if (has_isa(isa)) return isa;
  }
  return Isa::portable;
}

}  // namespace gleaner
