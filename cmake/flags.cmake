# gleaner_flags: what every native source is compiled with. The baseline is plain x86-64 (or whatever the machine is); kernels for other
# instruction sets name them function by function, so one binary runs everywhere.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  message(FATAL_ERROR "gleaner's x86-64 kernels name their instruction sets by GCC's pragmas, which clang ignores: install g++ and set CC=gcc CXX=g++")
endif()
add_library(gleaner_flags INTERFACE)
# No contraction and no fast-math: a sum has the same bits wherever the compiler meets it. Kernels ask for FMA by name.
target_compile_options(gleaner_flags INTERFACE
  -Wall -Wextra -ffp-contract=off -fno-strict-aliasing -fno-math-errno -fno-trapping-math)
if(GLEANER_WERROR)
  target_compile_options(gleaner_flags INTERFACE -Werror)
endif()
if(GLEANER_SANITIZE)
  target_compile_options(gleaner_flags INTERFACE
    -fsanitize=${GLEANER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1)
  target_link_options(gleaner_flags INTERFACE -fsanitize=${GLEANER_SANITIZE})
endif()
target_include_directories(gleaner_flags INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/native)
target_link_libraries(gleaner_flags INTERFACE Threads::Threads)
