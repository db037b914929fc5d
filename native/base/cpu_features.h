// Which kernels this CPU can run.
#pragma once
#include <string>

namespace gleaner {

enum class Isa { portable, avx2, avx512 };

bool has_isa(Isa isa);
/// The widest that the CPU has, or what GLEANER_ISA (portable | avx2 | avx512) asks for; throws ERR_GLEANER_USAGE when
/// the CPU lacks that.
Isa best_isa();
/// "auto" is best_isa(); throws ERR_GLEANER_USAGE for an unknown name or one that the CPU lacks.
Isa isa_named(const std::string& name);
const char* isa_name(Isa isa);

}  // namespace gleaner
