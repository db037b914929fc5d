{
  # For node-gyp users. It hands over to CMake, so that flags and sources have one home (CMakeLists.txt).
  "targets": [{
    "target_name": "gleaner_cmake",
    "type": "none",
    "actions": [{
      "action_name": "cmake",
      "inputs": ["CMakeLists.txt"],
      "outputs": ["<(module_root_dir)/build/Release/gleaner.node"],
      "action": ["node", "<!(node -p \"require.resolve('cmake-js/bin/cmake-js')\")", "compile", "--out", "build/cmake", "--directory", "<(module_root_dir)"]
    }]
  }]
}
