// The machine's limits, the best of a few short runs on all threads at once. `peak avx2|avx512 THREADS`: GFLOP/s of
// fp32 multiply-adds; `peak bf16 THREADS`: of bf16 dot products summed in fp32; `peak read THREADS`: GB/s read from
// memory. 12 independent chains hide the latency of the multiply-adds. Exit code 2: this machine lacks it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
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
__attribute__((target("avx512f,avx512bf16"))) double chains_bf16() {
  __m512 sum[12];
  for (int i = 0; i < 12; ++i) sum[i] = _mm512_set1_ps(0.1F * static_cast<float>(i));
  const __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1e-3F), _mm512_set1_ps(-1e-3F));
  for (long step = 0; step < kSteps / 2; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
  }
  for (int i = 1; i < 12; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  sink = _mm512_cvtss_f32(sum[0]);
  return 12.0 * 64 * (kSteps / 2);
}
#endif

/// Bytes that each thread reads: far beyond what caches hold. Touched once, before the clock.
std::vector<std::vector<uint64_t>> memory;

double read_all(size_t thread) {
  const std::vector<uint64_t>& words = memory[thread];
  // Four pages apart, so that the prefetchers run four streams; 8 sums, so that adding is never the limit.
  const size_t quarter = words.size() / 4;
  uint64_t sum[8] = {};
  for (size_t at = 0; at < quarter; at += 2) {
    for (size_t stream = 0; stream < 4; ++stream) {
      sum[2 * stream] += words[stream * quarter + at];
      sum[2 * stream + 1] += words[stream * quarter + at + 1];
    }
  }
  for (int i = 1; i < 8; ++i) sum[0] += sum[i];
  sink = static_cast<float>(sum[0]);
  return 8.0 * static_cast<double>(quarter * 4);
}

/// FLOP (bytes, when reading) of one run. Portable code has no multiply-add of its own to measure: its peak is not
/// known.
double work(const std::string& mode, size_t thread) {
  if (mode == "read") return read_all(thread);
#if defined(__x86_64__)
  if (mode == "avx2") return chains_avx2();
  if (mode == "avx512") return chains_avx512();
  if (mode == "bf16") return chains_bf16();
#endif
  std::exit(2);
}

bool can(const std::string& mode) {
  if (mode == "read") return true;
#if defined(__x86_64__)
  if (mode == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (mode == "avx512") return __builtin_cpu_supports("avx512f");
  if (mode == "bf16") return __builtin_cpu_supports("avx512bf16");
#endif
  return false;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// All threads together, from the first one's start to the last one's end.
double giga_per_second(const std::string& mode, int threads) {
  struct Run {
    double start, end, done;
  };
  std::vector<Run> runs(static_cast<size_t>(threads));
  std::vector<std::thread> pool;
  std::atomic<int> ready{0};
  for (size_t i = 0; i < runs.size(); ++i) {
    pool.emplace_back([&, i] {
      Run& run = runs[i];
      ++ready;
      while (ready < threads) std::this_thread::yield();
      run.start = now();
      run.done = work(mode, i);
      run.end = now();
    });
  }
  for (std::thread& thread : pool) thread.join();
  Run all = runs[0];
  for (size_t i = 1; i < runs.size(); ++i) {
    all = {std::min(all.start, runs[i].start), std::max(all.end, runs[i].end), all.done + runs[i].done};
  }
  return all.done / (all.end - all.start) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  const std::string mode = argv[1];
  const int threads = std::atoi(argv[2]);
  if (threads < 1 || !can(mode)) return 2;
  if (mode == "read") memory.assign(static_cast<size_t>(threads), std::vector<uint64_t>(size_t{128} << 17, 1));
  double best = 0;
  for (int i = 0; i < 5; ++i) best = std::max(best, giga_per_second(mode, threads));
  std::printf("%.1f\n", best);
}
