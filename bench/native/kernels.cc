// One kernel of the engine, kept warm: `gleaner_kernels THREADS ISA KIND SIZES… REPEATS`, then one line of JSON on
// stdout for each line on stdin. Kinds: forward|dx|dweight ROWS IN OUT; attention BATCH TOKENS HEADS HEAD_DIM;
// head|head_split ROWS HIDDEN VOCAB. Inputs come from value() below, which bench/peers/torch_kernels.py has too; samples of
// the results are what both sides compare.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "ops/ops.h"

namespace {

using gleaner::Buffer;
using gleaner::Tensor;

constexpr int64_t kSamples = 64;
constexpr int64_t kSampleStep = 1'000'003;

/// In [-0.5, 0.5), the same bits in fp32 everywhere.
float value(uint32_t seed, int64_t index) {
  uint32_t h = static_cast<uint32_t>(index) * 2654435761U + seed * 40503U;
  h ^= h >> 15;
  h *= 2246822519U;
  h ^= h >> 13;
  return static_cast<float>(h >> 8) * 0x1p-24F - 0.5F;
}

struct Work {
  std::function<void()> prepare, run;
  /// Results, and by how much a sample is divided: a product's by the root of its terms, so that its rounding errors
  /// are of one size.
  std::vector<std::pair<Tensor, double>> results;
  std::function<double()> total = [] { return 0.0; };
};

class Bench {
 public:
  Bench(int threads, const std::string& isa) : ops_(gleaner::make_ops({"cpu", isa, threads})) {}

  Work make(const std::string& kind, const std::vector<int64_t>& n) {
    if (kind == "attention") return attention(n.at(0), n.at(1), n.at(2), n.at(3));
    if (kind == "head" || kind == "head_split") return head(kind == "head", n.at(0), n.at(1), n.at(2));
    return gemm(kind, n.at(0), n.at(1), n.at(2), n.at(3));
  }

 private:
  Tensor matrix(int64_t rows, int64_t cols, uint32_t seed = 0) {
    buffers_.push_back(memory_.allocate(gleaner::Purpose::activations, gleaner::float_bytes(rows, cols)));
    const Tensor tensor = Tensor::f32(buffers_.back().f32(), rows, cols);
    for (int64_t i = 0; i < (seed == 0 ? 0 : tensor.size()); ++i) tensor.f32()[i] = value(seed, i);
    return tensor;
  }

  gleaner::Weight weight(int64_t out, int64_t in) {
    gleaner::Weight weight;
    weight.value = matrix(out, in, 2);
    weight.packed_forward = matrix(1, static_cast<int64_t>(ops_->packed_forward_floats(out, in))).f32();
    weight.packed_backward = matrix(1, static_cast<int64_t>(ops_->packed_backward_floats(out, in))).f32();
    ops_->pack(weight);
    return weight;
  }

  Work gemm(const std::string& kind, int64_t rows, int64_t in, int64_t out, int64_t repeats) {
    gleaner::OpsLimits limits;
    limits.rows = rows;
    limits.cols = std::max(in, out);
    limits.hidden = in;
    limits.training = true;
    ops_->reserve_workspace(memory_, limits);
    const Tensor x = matrix(rows, in, 1);
    const Tensor dy = matrix(rows, out, 3);
    const gleaner::Weight w = weight(out, in);
    Work work;
    if (kind == "forward") {
      work.run = [=, this] { ops_->linear_forward(x, w, {}, {}, dy); };
      work.prepare = [] {};
      work.results = {{dy, std::sqrt(in)}};
    } else if (kind == "dx") {
      const Tensor dx = matrix(rows, in);
      work.run = [=, this] { ops_->linear_backward_input(dy, w, false, dx); };
      work.prepare = [] {};
      work.results = {{dx, std::sqrt(out)}};
    } else if (kind == "dweight") {
      const Tensor dweight = matrix(out, in);
      work.run = [=, this] { ops_->linear_backward_weight(dy, x, dweight, {}); };
      work.prepare = [=, this] { ops_->fill(dweight, 0); };
      work.results = {{dweight, static_cast<double>(repeats) * std::sqrt(rows)}};
    } else {
      std::exit(2);
    }
    return work;
  }

  Work attention(int64_t batch, int64_t tokens, int64_t heads, int64_t head_dim) {
    const int64_t rows = batch * tokens;
    gleaner::OpsLimits limits;
    limits.rows = rows;
    limits.cols = heads * head_dim;
    limits.path_tokens = tokens;
    limits.heads = heads;
    limits.head_dim = head_dim;
    limits.training = true;
    ops_->reserve_workspace(memory_, limits);
    auto forest = std::make_shared<gleaner::Forest>();
    forest->tokens = rows;
    for (int64_t b = 0; b < batch; ++b) {
      forest->segments.push_back({b * tokens, tokens, -1, static_cast<int32_t>(b), 0});
      forest->all.push_back({static_cast<int32_t>(b), 0, tokens, b * tokens});
      for (int64_t t = 0; t < tokens; ++t) forest->positions.push_back(static_cast<int32_t>(t));
    }
    gleaner::AttentionShape shape;
    shape.heads = shape.kv_heads = heads;
    shape.head_dim = head_dim;
    shape.scale = 1 / std::sqrt(static_cast<float>(head_dim));
    const int64_t width = heads * head_dim;
    const Tensor q = matrix(rows, width, 1), k = matrix(rows, width, 2), v = matrix(rows, width, 3);
    const Tensor dout = matrix(rows, width, 4), out = matrix(rows, width), lse = matrix(rows, heads);
    const Tensor dq = matrix(rows, width), dk = matrix(rows, width), dv = matrix(rows, width);
    Work work;
    work.prepare = [] {};
    work.run = [=, this] {
      ops_->attention_forward(*forest, forest->all, shape, q, k, v, out, lse);
      ops_->attention_backward(*forest, forest->all, shape, dout, q, k, v, out, lse, dq, dk, dv);
    };
    work.results = {{out, 1}, {dq, 1}, {dk, 1}, {dv, 1}};
    return work;
  }

  Work head(bool fused, int64_t rows, int64_t hidden, int64_t vocab) {
    gleaner::OpsLimits limits;
    limits.rows = rows;
    limits.cols = hidden;
    limits.hidden = hidden;
    limits.vocab = vocab;
    limits.training = true;
    ops_->reserve_workspace(memory_, limits);
    const Tensor x = matrix(rows, hidden, 1);
    const gleaner::Weight w = weight(vocab, hidden);
    const Tensor dx = matrix(rows, hidden), dweight = matrix(vocab, hidden);
    auto targets = std::make_shared<std::vector<gleaner::HeadTarget>>();
    for (int64_t r = 0; r < rows; ++r) {
      targets->push_back({static_cast<int32_t>(r), static_cast<int32_t>(r * 7919 % vocab)});
    }
    const auto count = static_cast<size_t>(rows);
    auto logprobs = std::make_shared<std::vector<float>>(count);
    auto lse = std::make_shared<std::vector<double>>(count);
    auto dlogprobs = std::make_shared<std::vector<float>>(count, -1.0F);
    Work work;
    work.prepare = [=, this] { ops_->fill(dweight, 0); };
    work.run = [=, this] {
      if (fused) {
        ops_->logprob_forward_backward(x, w, *targets, *dlogprobs, *logprobs, dx, dweight);
      } else {
        ops_->logprob_forward(x, w, *targets, *logprobs, *lse, {});
        ops_->logprob_backward(x, w, *targets, *logprobs, *lse, *dlogprobs, dx, dweight);
      }
    };
    work.results = {{dx, 1}, {dweight, 1}};
    work.total = [=] {
      double sum = 0;
      for (const float logprob : *logprobs) sum -= logprob;
      return sum;
    };
    return work;
  }

  gleaner::Memory memory_;
  std::unique_ptr<gleaner::Ops> ops_;
  std::vector<Buffer> buffers_;
};

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double cpu() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void serve(const Work& work, int64_t repeats) {
  std::printf("{}\n");
  std::fflush(stdout);
  std::string line;
  while (std::getline(std::cin, line)) {
    work.prepare();
    const double before = cpu();
    const double start = wall();
    for (int64_t i = 0; i < repeats; ++i) work.run();
    const double seconds = wall() - start;
    std::printf("{\"seconds\":%.9f,\"cpu_seconds\":%.9f,\"total\":%.9g,\"samples\":[", seconds, cpu() - before,
                work.total());
    const char* comma = "";
    for (const auto& [tensor, divisor] : work.results) {
      for (int64_t i = 0; i < kSamples; ++i) {
        std::printf("%s%.9g", comma, static_cast<double>(tensor.f32()[i * kSampleStep % tensor.size()]) / divisor);
        comma = ",";
      }
    }
    std::printf("]}\n");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) return 2;
  try {
    std::vector<int64_t> sizes;
    for (int i = 4; i < argc; ++i) sizes.push_back(std::atoll(argv[i]));
    Bench bench(std::atoi(argv[1]), argv[2]);
    serve(bench.make(argv[3], sizes), sizes.back());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
