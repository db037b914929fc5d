// The loops of loops.inc for portable.
#include "ops/cpu/loops_table.h"

namespace gleaner::cpu::portable {
namespace {
#include "ops/cpu/loops.inc"
}  // namespace
const Loops& table() { return kLoops; }
}  // namespace gleaner::cpu::portable
