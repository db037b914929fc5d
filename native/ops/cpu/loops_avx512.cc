// The loops of loops.inc for avx512.
#include "ops/cpu/loops_table.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw")
namespace gleaner::cpu::avx512 {
namespace {
#include "ops/cpu/loops.inc"
}  // namespace
const Loops& table() { return kLoops; }
}  // namespace gleaner::cpu::avx512
#pragma GCC pop_options
#endif
