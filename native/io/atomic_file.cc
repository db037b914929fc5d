// POSIX: fsync before rename, so that after a crash the name stands for all of the old bytes or all of the new ones.
#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace gleaner {

AtomicFile::AtomicFile(std::string path)
    // The object's address: another writer of this path, in this process, has a file of its own.
    : path_(std::move(path)),
      temporary_path_(path_ + ".tmp-" + std::to_string(::getpid()) + "-" +
                      std::to_string(reinterpret_cast<uintptr_t>(this))) {
  if (path_.find('\0') != std::string::npos) {  // the system would read another name: what stands before it
    throw Error("ERR_GLEANER_DISK", path_.substr(0, path_.find('\0')) + "…: a path cannot hold a zero byte");
  }
  ::unlink(temporary_path_.c_str());  // of an earlier process with this id
  descriptor_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("create");
  temporary_exists_ = true;
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (temporary_exists_) ::unlink(temporary_path_.c_str());
}

void AtomicFile::fail(const char* doing) const {
  const int number = errno;
  const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
  throw Error("ERR_GLEANER_DISK", path_ + ": cannot " + doing + " the file: " + std::generic_category().message(number),
              full ? "Free some space or choose another output folder." : "");
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    bytes = bytes.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("sync");
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("close");
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) fail("rename");
  temporary_exists_ = false;
  const size_t slash = path_.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor < 0) fail("sync the folder of");
  const bool synced = ::fsync(folder_descriptor) == 0 || errno == EINVAL;  // some file systems cannot sync a folder
  const int number = errno;
  ::close(folder_descriptor);
  errno = number;
  if (!synced) fail("sync the folder of");
}

}  // namespace gleaner
