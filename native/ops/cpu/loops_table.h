// One table of loops an instruction set.
#pragma once
#include <cstdint>

#include "ops/cpu/loops.h"

namespace gleaner::cpu {
namespace portable {
const Loops& table();
}
namespace avx2 {
const Loops& table();
}
namespace avx512 {
const Loops& table();
}
}  // namespace gleaner::cpu
