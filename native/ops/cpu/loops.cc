// Chooses a table.
#include "ops/cpu/loops.h"

#include "ops/cpu/loops_table.h"

namespace gleaner::cpu {

const Loops& loops(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::avx512:
      return avx512::table();
    case Isa::avx2:
      return avx2::table();
    case Isa::portable:
      break;
  }
#else
  static_cast<void>(isa);
#endif
  return portable::table();
}

}  // namespace gleaner::cpu
