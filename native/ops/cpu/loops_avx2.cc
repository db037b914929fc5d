// The loops of loops.inc for avx2.
#include "ops/cpu/loops_table.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace gleaner::cpu::avx2 {
namespace {
#include "ops/cpu/loops.inc"
}  // namespace
const Loops& table() { return kLoops; }
}  // namespace gleaner::cpu::avx2
#pragma GCC pop_options
#endif
