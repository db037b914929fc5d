# The addon: build/Release/gleaner.node. Headers of Node-API come from npm packages, so nothing is downloaded.
file(GLOB addon_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/native/addon/*.cc)
# cmake-js sets CMAKE_JS_INC from package.json's binary.napi_versions; without cmake-js node tells the same folders.
if(NOT CMAKE_JS_INC)
  find_program(NODE_EXECUTABLE node)
  if(NODE_EXECUTABLE)
    execute_process(
      COMMAND ${NODE_EXECUTABLE} -p
        "const r=require('module').createRequire(process.cwd()+'/package.json');[r('node-api-headers').include_dir,r('node-addon-api').include.replace(/\"/g,'')].join(';')"
      WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
      OUTPUT_VARIABLE CMAKE_JS_INC OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
if(NOT addon_sources)
  message(STATUS "gleaner: no addon, native/addon has no source")
elseif(NOT CMAKE_JS_INC)
  message(STATUS "gleaner: no addon, the Node-API headers are not installed (npm install brings them)")
else()
  add_library(gleaner MODULE ${addon_sources} ${CMAKE_JS_SRC})
  # Node unmaps an addon when the last worker that loaded it ends; threads of ours that still live would run unmapped code.
  # And `now`: a function that nobody defines stops the load with its name, not the process at its first call.
  target_link_options(gleaner PRIVATE "LINKER:-z,nodelete,-z,now")
  set_target_properties(gleaner PROPERTIES PREFIX "" SUFFIX ".node" LIBRARY_OUTPUT_DIRECTORY ${GLEANER_OUTPUT}/Release)
  target_include_directories(gleaner SYSTEM PRIVATE ${CMAKE_JS_INC})
  # The last: an exception that can't be thrown, since its worker thread is being terminated, is dropped and does not end the process.
  target_compile_definitions(gleaner PRIVATE NAPI_VERSION=8 NAPI_CPP_EXCEPTIONS NODE_ADDON_API_CPP_EXCEPTIONS_ALL
    NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS)
  target_link_libraries(gleaner PRIVATE gleaner_engine ${CMAKE_JS_LIB})
endif()
