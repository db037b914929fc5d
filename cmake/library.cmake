# gleaner_library(NAME DEPENDENCIES…): the static library gleaner_NAME of all sources under native/NAME; a new file needs no line here.
function(gleaner_library name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/native/${name}/*.cc)
  if(sources)
    add_library(gleaner_${name} STATIC ${sources})
    target_link_libraries(gleaner_${name} PUBLIC gleaner_flags ${ARGN})
  else()  # headers only
    add_library(gleaner_${name} INTERFACE)
    target_link_libraries(gleaner_${name} INTERFACE gleaner_flags ${ARGN})
  endif()
endfunction()
