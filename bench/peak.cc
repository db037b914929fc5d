// The machine's fp32 multiply-add peak: `peak avx2|avx512|portable THREADS` prints GFLOP/s, the best of a few short
// runs on all threads at once. 12 independent chains hide the latency of the multiply-adds.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr long kSteps = 8'000'000;
std::atomic<float> sink;

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double chains_avx2() {
  __m256 sum[12];
  for (int i = 0; i < 12; ++i) sum[i] = _mm256_set1_ps(0.1F * static_cast<float>(i));
  const __m256 x = _mm256_set1_ps(0.999F);
  const __m256 y = _mm256_set1_ps(1e-3F);
  for (long step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sum[i] = _mm256_fmadd_ps(sum[i], x, y);
  }
  for (int i = 1; i < 12; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  sink = _mm256_cvtss_f32(sum[0]);
  return 12.0 * 16 * kSteps;
}
__attribute__((target("avx512f"))) double chains_avx512() {
  __m512 sum[12];
  for (int i = 0; i < 12; ++i) sum[i] = _mm512_set1_ps(0.1F * static_cast<float>(i));
  const __m512 x = _mm512_set1_ps(0.999F);
  const __m512 y = _mm512_set1_ps(1e-3F);
  for (long step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sum[i] = _mm512_fmadd_ps(sum[i], x, y);
  }
  for (int i = 1; i < 12; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  sink = _mm512_cvtss_f32(sum[0]);
  return 12.0 * 32 * kSteps;
}
#endif

/// FLOP of one run. Portable code has no multiply-add of its own to measure: its peak is not known.
double chains(const std::string& isa) {
#if defined(__x86_64__)
  if (isa == "avx2") return chains_avx2();
  if (isa == "avx512") return chains_avx512();
#endif
  std::exit(2);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// All threads together, from the first one's start to the last one's end.
double gflops(const std::string& isa, int threads) {
  struct Run {
    double start, end, flop;
  };
  std::vector<Run> runs(static_cast<size_t>(threads));
  std::vector<std::thread> pool;
  std::atomic<int> ready{0};
  for (Run& run : runs) {
    pool.emplace_back([&] {
      ++ready;
      while (ready < threads) std::this_thread::yield();
      run.start = now();
      run.flop = chains(isa);
      run.end = now();
    });
  }
  for (std::thread& thread : pool) thread.join();
  Run all = runs[0];
  for (size_t i = 1; i < runs.size(); ++i) {
    all = {std::min(all.start, runs[i].start), std::max(all.end, runs[i].end), all.flop + runs[i].flop};
  }
  return all.flop / (all.end - all.start) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  double best = 0;
  for (int i = 0; i < 5; ++i) best = std::max(best, gflops(argv[1], std::atoi(argv[2])));
  std::printf("%.1f\n", best);
}
