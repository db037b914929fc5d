// Reading pieces through the map, writing whole files, and what either does when the file or the disk fails.
#include "io/safetensors.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "io/float16.h"

namespace gleaner {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "gleaner-io-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  std::string file(const char* name) const { return (path_ / name).string(); }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

void put(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string get(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string header_of(const std::string& json) {
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + json;
}

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// The code of the Error thrown, its message in `message`; "" when nothing was thrown.
std::string code_of(const std::function<void()>& work, std::string* message = nullptr) {
  try {
    work();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code;
  }
  return "";
}

TEST_CASE("read_piece widens each dtype from an unaligned offset into strided rows") {
  const Folder folder;
  const std::vector<float> values = {1.5f, -2.0f, 0.25f, 1e-6f, 65504.0f, -0.0f};
  std::vector<uint16_t> half;
  std::vector<uint16_t> brain;
  for (const float value : values) {
    half.push_back(f32_to_f16(value));
    brain.push_back(f32_to_bf16(value));
  }
  put(folder.file("f"), "x" + bytes_of(values) + bytes_of(half) + bytes_of(brain));
  const InputFile file(folder.file("f"));
  CHECK(file.bytes() == 1 + 24 + 12 + 12);
  const auto read = [&](uint64_t offset, DType dtype) {
    std::vector<float> to(10, 99.0f);
    Tensor destination = Tensor::f32(to.data(), 2, 3);
    destination.stride = 5;
    read_piece(file, offset, dtype, destination);
    CHECK(to[3] == 99.0f);  // between the rows nothing is written
    CHECK(to[4] == 99.0f);
    CHECK(to[8] == 99.0f);
    return std::vector<float>{to[0], to[1], to[2], to[5], to[6], to[7]};
  };
  CHECK(read(1, DType::f32) == values);
  const std::vector<float> from_half = read(25, DType::f16);
  const std::vector<float> from_brain = read(37, DType::bf16);
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(from_half[i] == f16_to_f32(half[i]));
    CHECK(from_brain[i] == bf16_to_f32(brain[i]));
  }
}

TEST_CASE("a piece outside the file, or of an impossible size, is an error and nothing is read") {
  const Folder folder;
  put(folder.file("f"), std::string(64, 'a'));
  const InputFile file(folder.file("f"));
  std::vector<float> to(16);
  const auto code = [&](uint64_t offset, int64_t rows, int64_t cols) {
    return code_of([&] { read_piece(file, offset, DType::f32, Tensor::f32(to.data(), rows, cols)); });
  };
  CHECK(code(0, 4, 4) == "");
  CHECK(code(64, 0, 4) == "");
  CHECK(code(1, 4, 4) == "ERR_GLEANER_MODEL");
  CHECK(code(65, 0, 4) == "ERR_GLEANER_MODEL");
  CHECK(code(UINT64_MAX - 3, 1, 1) == "ERR_GLEANER_MODEL");
  CHECK(code(0, INT64_MAX, INT64_MAX) == "ERR_GLEANER_MODEL");
  CHECK(code(0, int64_t{1} << 32, int64_t{1} << 32) == "ERR_GLEANER_MODEL");
  CHECK(code(0, -1, 4) == "ERR_GLEANER_MODEL");
}

TEST_CASE("a file cut after it was opened is an error, not a crash") {
  const Folder folder;
  put(folder.file("f"), std::string(1 << 20, 'a'));
  const InputFile file(folder.file("f"));
  REQUIRE(::truncate(folder.file("f").c_str(), 16) == 0);
  std::vector<float> to(16);
  std::string message;
  CHECK(code_of([&] { read_piece(file, 1 << 19, DType::f32, Tensor::f32(to.data(), 4, 4)); }, &message) ==
        "ERR_GLEANER_MODEL");
  CHECK(message.find(folder.file("f")) != std::string::npos);
}

TEST_CASE("a file cut while a piece of it is read is an error, not a crash") {
  const Folder folder;
  std::vector<float> to(1 << 16);
  const std::string whole(to.size() * sizeof(float), 'a');
  for (int i = 0; i < 200; ++i) {
    put(folder.file("f"), whole);
    const InputFile file(folder.file("f"));
    std::thread cutter([&] { REQUIRE(::truncate(folder.file("f").c_str(), 16) == 0); });
    const std::string code = code_of([&] {
      for (int round = 0; round < 10; ++round)
        read_piece(file, 0, DType::f32, Tensor::f32(to.data(), 1, static_cast<int64_t>(to.size())));
    });
    cutter.join();
    CHECK((code.empty() || code == "ERR_GLEANER_MODEL"));
  }
}

TEST_CASE("only regular files are opened; an empty one has no bytes") {
  const Folder folder;
  CHECK(code_of([&] { InputFile(folder.file("absent")); }) == "ERR_GLEANER_MODEL");
  CHECK(code_of([&] { InputFile(folder.file("")); }) == "ERR_GLEANER_MODEL");
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK(code_of([&] { InputFile(folder.file("pipe")); }) == "ERR_GLEANER_MODEL");
  put(folder.file("empty"), "");
  const InputFile empty(folder.file("empty"));
  CHECK(empty.bytes() == 0);
  empty.read(0, {});
}

TEST_CASE("the writer's file is the header and the rows, in each dtype") {
  const Folder folder;
  const std::string header = header_of("{}      ");
  std::vector<float> values(15);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.1f - 0.7f;
  Tensor strided = Tensor::f32(values.data(), 3, 4);
  strided.stride = 5;
  SafetensorsWriter writer(folder.file("m"), as_bytes(header), 15 * 4 + 12 * 4 + 12 * 2 + 12 * 2);
  writer.write_rows(Tensor::f32(values.data(), 3, 5), DType::f32);
  writer.write_rows(strided, DType::f32);
  writer.write_rows(strided, DType::bf16);
  writer.write_rows(strided, DType::f16);
  CHECK(!fs::exists(folder.file("m")));  // not before finish
  writer.finish();
  CHECK(folder.entries() == 1);

  std::vector<float> kept;
  std::vector<uint16_t> brain;
  std::vector<uint16_t> half;
  for (size_t row = 0; row < 3; ++row) {
    for (size_t col = 0; col < 4; ++col) {
      const float value = values[5 * row + col];
      kept.push_back(value);
      brain.push_back(f32_to_bf16(value));
      half.push_back(f32_to_f16(value));
    }
  }
  CHECK(get(folder.file("m")) == header + bytes_of(values) + bytes_of(kept) + bytes_of(brain) + bytes_of(half));
}

TEST_CASE("rows longer than the conversion buffer, and many short ones") {
  const Folder folder;
  const std::string header = header_of("{}");
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{2, 600000}, {600000, 2}, {3, 400000}}) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 251);
    SafetensorsWriter writer(folder.file("m"), as_bytes(header), values.size() * 2);
    writer.write_rows(Tensor::f32(values.data(), rows, cols), DType::f16);
    writer.finish();
    const InputFile file(folder.file("m"));
    std::vector<float> back(values.size());
    read_piece(file, header.size(), DType::f16, Tensor::f32(back.data(), rows, cols));
    CHECK(back == values);
  }
}

TEST_CASE("a writer that is not finished leaves the old file and no other") {
  const Folder folder;
  put(folder.file("m"), "old");
  const std::string header = header_of("{}");
  std::vector<float> values(4);
  const Tensor rows = Tensor::f32(values.data(), 2, 2);
  {
    SafetensorsWriter writer(folder.file("m"), as_bytes(header), 16);
    writer.write_rows(rows, DType::f32);
  }
  CHECK(code_of([&] {
          SafetensorsWriter writer(folder.file("m"), as_bytes(header), 17);
          writer.write_rows(rows, DType::f32);
          writer.finish();
        }) == "ERR_GLEANER_INTERNAL");
  CHECK(code_of([&] {
          SafetensorsWriter writer(folder.file("m"), as_bytes(header), 15);
          writer.write_rows(rows, DType::f32);
        }) == "ERR_GLEANER_INTERNAL");
  CHECK(code_of([&] { SafetensorsWriter(folder.file("m"), as_bytes(header).first(9), 16); }) == "ERR_GLEANER_INTERNAL");
  CHECK(get(folder.file("m")) == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("two writers of one path: each writes its own file, and the last to finish stands") {
  const Folder folder;
  const std::string path = folder.file("out");
  const std::string first_bytes = "the first";
  const std::string second_bytes = "the second, which is longer";
  AtomicFile first(path);
  first.write(std::as_bytes(std::span(first_bytes)));
  AtomicFile second(path);
  second.write(std::as_bytes(std::span(second_bytes)).first(5));
  first.commit();
  CHECK(get(path) == first_bytes);  // never a part of the second
  second.write(std::as_bytes(std::span(second_bytes)).subspan(5));
  second.commit();
  CHECK(get(path) == second_bytes);
  CHECK(folder.entries() == 1);
}

TEST_CASE("a folder that cannot be written is ERR_GLEANER_DISK with the path") {
  const Folder folder;
  put(folder.file("file"), "old");
  const std::string header = header_of("{}");
  for (const char* path : {"no/such/m", "file/m"}) {
    std::string message;
    CHECK(code_of([&] { SafetensorsWriter(folder.file(path), as_bytes(header), 0); }, &message) == "ERR_GLEANER_DISK");
    CHECK(message.find(folder.file(path)) != std::string::npos);
  }
  // A folder stands where the file should: found at the rename, and the temporary file goes.
  fs::create_directory(folder.file("taken"));
  CHECK(code_of([&] { SafetensorsWriter(folder.file("taken"), as_bytes(header), 0).finish(); }) == "ERR_GLEANER_DISK");
  CHECK(folder.entries() == 2);
  if (::geteuid() != 0) {  // root may write anywhere
    fs::permissions(folder.file("taken"), fs::perms::owner_read | fs::perms::owner_exec);
    CHECK(code_of([&] { SafetensorsWriter(folder.file("taken/m"), as_bytes(header), 0); }) == "ERR_GLEANER_DISK");
    fs::permissions(folder.file("taken"), fs::perms::owner_all);
  }
}

TEST_CASE("a disk that fills while rows are written is ERR_GLEANER_DISK, and nothing is left behind") {
  const Folder folder;
  put(folder.file("m"), "old");
  const std::string header = header_of("{}");
  std::vector<float> values(1 << 16);
  // A limit on file size fails a write in the middle of a piece as a full disk does.
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = before;
  limit.rlim_cur = 100000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::string message;
  const std::string code = code_of(
      [&] {
        SafetensorsWriter writer(folder.file("m"), as_bytes(header), values.size() * 4);
        writer.write_rows(Tensor::f32(values.data(), 256, 256), DType::f32);
        writer.finish();
      },
      &message);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, old_handler);
  CHECK(code == "ERR_GLEANER_DISK");
  CHECK(message.find(folder.file("m")) != std::string::npos);
  CHECK(get(folder.file("m")) == "old");
  CHECK(folder.entries() == 1);
}

}  // namespace
}  // namespace gleaner
