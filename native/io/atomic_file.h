// A file that appears whole or not at all: written beside its final name, synced, renamed, and the rename synced.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace gleaner {

/// Owns the temporary file until commit(); destroyed before that, it removes it and leaves what stood at `path`
/// untouched. Every failure throws ERR_GLEANER_DISK with the path.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  /// Over bytes that were written already.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  void commit();

 private:
  [[noreturn]] void fail(const char* doing) const;

  std::string path_;
  std::string temporary_path_;
  int descriptor_ = -1;
  bool temporary_exists_ = false;
};

}  // namespace gleaner
