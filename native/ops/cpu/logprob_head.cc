// A tile is some rows × one piece of the vocabulary: its logits, their maximum and sum of exp stay in L2. Log-sum-exp
// merges the pieces in order, in fp64, so that log p of a peaked row keeps its digits; 1 - p comes from expm1(log p),
// never from a rounded p.
#include "ops/cpu/logprob_head.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/loops.h"

namespace gleaner::cpu {

namespace {

constexpr int64_t kPiece = 480;  // of the vocabulary, a multiple of every panel width: a tile and its weights fit L2
constexpr int64_t kVocabChunk = 4 * kPiece;  // what dx and dweight take at once: a multiple of dweight's row block
constexpr int64_t kTileRows = 96;
constexpr int64_t kRowUnit = 12;                   // rows of the widest register tile, a multiple of the others
constexpr int64_t kBlockRows = 2016;               // rows that share one pass over dweight: 15.5 MB of dlogits
constexpr int64_t kKeptLogits = 8 << 20;           // floats of logits kept for the whole vocabulary (32 MB),
constexpr int64_t kKeptLogitsPerThread = 1 << 20;  // and more where threads share the dweight traffic
constexpr int64_t kMinKeptRows = 48;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t value, int64_t unit) { return ceil_div(value, unit) * unit; }
int64_t num_chunks(int64_t vocab) { return ceil_div(vocab, kVocabChunk); }
int64_t num_pieces(int64_t vocab) { return ceil_div(vocab, kPiece); }
/// Rows of the kept logits are not a multiple of 4 KiB apart: they would share their cache sets.
int64_t kept_stride(int64_t vocab) { return round_up(vocab, 16) + 16; }
int64_t kept_rows(int64_t vocab, int threads) {
  const int64_t rows = (kKeptLogits + threads * kKeptLogitsPerThread) / kept_stride(vocab) / kRowUnit * kRowUnit;
  return std::clamp(rows, kMinKeptRows, kBlockRows);
}
/// Rows of a tile whose results go to rows only: enough tiles for all threads.
int64_t row_tile(int64_t rows, int threads) {
  return std::clamp(round_up(ceil_div(rows, int64_t{2} * threads), kRowUnit), kRowUnit, kTileRows);
}

/// What a row's softmax needs of one piece.
struct Partial {
  double sum;  // of exp(logit - max)
  float max;
  int32_t best;
};
constexpr int64_t kPartialFloats = sizeof(Partial) / sizeof(float);

struct Workspace {
  float* gemm;       // of gemm and gemm_dweight
  Partial* partial;  // [block rows, pieces]
  double* lse;       // [block rows]
  float* logits;     // one tile a worker, a block's chunk, or a block's vocabulary

  Workspace(float* memory, int64_t rows, int64_t hidden, int64_t vocab, int threads)
      : gemm(memory),
        partial(reinterpret_cast<Partial*>(gemm + gemm_floats(hidden, threads))),
        lse(reinterpret_cast<double*>(partial + round_up(block_rows(rows) * num_pieces(vocab), 16))),
        logits(reinterpret_cast<float*>(lse + round_up(block_rows(rows), 16))) {}

  static int64_t block_rows(int64_t rows) { return std::min(rows, kBlockRows); }
  static int64_t gemm_floats(int64_t hidden, int threads) {
    return round_up(
        static_cast<int64_t>(std::max(gemm_workspace_floats(threads), gemm_dweight_workspace_floats(hidden, threads))),
        16);
  }
  static int64_t fixed_floats(int64_t rows, int64_t hidden, int64_t vocab, int threads) {
    return gemm_floats(hidden, threads) + round_up(block_rows(rows) * num_pieces(vocab), 16) * kPartialFloats +
           round_up(block_rows(rows), 16) * 2;
  }
};

/// The targets of rows [begin, end).
struct TargetRange {
  size_t begin, end;
};
TargetRange targets_of(std::span<const HeadTarget> targets, int64_t begin, int64_t end) {
  const auto row_below = [](const HeadTarget& target, int64_t row) { return target.row < row; };
  const auto first = std::lower_bound(targets.begin(), targets.end(), begin, row_below);
  const auto last = std::lower_bound(first, targets.end(), end, row_below);
  return {static_cast<size_t>(first - targets.begin()), static_cast<size_t>(last - targets.begin())};
}

int32_t first_equal(const float* x, int64_t n, float value) {
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] == value) return static_cast<int32_t>(i);
  }
  return 0;  // NaN: the caller sees it in log-sum-exp
}

struct Place {
  float* memory;
  int64_t stride;
};

/// One call's operands; rows are of the whole x.
struct Head {
  ThreadPool& pool;
  Isa isa;
  Tensor x;
  const PackedMatrix& forward;
  std::span<const HeadTarget> targets;
  Workspace workspace;
  const Loops& loop = loops(isa);

  int64_t vocab() const { return forward.cols; }
  int64_t chunk_cols(int64_t chunk) const { return std::min(kVocabChunk, vocab() - chunk * kVocabChunk); }
  int64_t piece_cols(int64_t piece) const { return std::min(kPiece, vocab() - piece * kPiece); }

  /// Rows [row, row + rows) of a piece's logits.
  void logits(int64_t row, int64_t rows, int64_t piece, float* y, int64_t stride) const {
    gemm(pool, isa, rows, x.row(row), x.stride, forward.slice_cols(piece * kPiece, piece_cols(piece)), y, stride, {},
         workspace.gemm);
  }

  /// partial [rows, pieces] and the targets' logits, which go into logprobs until log-sum-exp is known. With `keep` y
  /// becomes exp(logit - the piece's max).
  void reduce(int64_t row, int64_t rows, int64_t piece, float* y, int64_t stride, bool keep, bool best,
              Partial* partial, std::span<float> logprobs) const {
    const int64_t col = piece * kPiece;
    const int64_t cols = piece_cols(piece);
    const TargetRange range = targets_of(targets, row, row + rows);
    for (size_t t = range.begin; t < range.end; ++t) {
      const int64_t at = targets[t].token - col;
      if (at >= 0 && at < cols) logprobs[t] = y[(targets[t].row - row) * stride + at];
    }
    for (int64_t i = 0; i < rows; ++i) {
      float* const values = y + i * stride;
      const float max = loop.max(values, cols);
      const int32_t first = best ? static_cast<int32_t>(col) + first_equal(values, cols, max) : 0;
      const double sum = keep ? loop.exp_sum(values, cols, max, 1, values) : loop.sum_exp(values, cols, max, 1);
      partial[i * num_pieces(vocab()) + piece] = {.sum = sum, .max = max, .best = first};
    }
  }

  /// Logits of a block's rows go through `logits_at(row in block, piece, worker)` = {memory, stride}; leaves lse
  /// [rows], logprobs, best.
  template <class LogitsAt>
  void forward_block(int64_t row, int64_t rows, std::span<float> logprobs, double* lse, std::span<int32_t> best,
                     bool keep, const LogitsAt& logits_at) const {
    const int64_t pieces = num_pieces(vocab());
    const int64_t tiles = ceil_div(rows, kTileRows);
    pool.run_with_worker(tiles * pieces, [&](int64_t task, int worker) {
      const int64_t piece = task / tiles;  // tiles of one piece follow each other: its weights are read once
      const int64_t begin = task % tiles * kTileRows;
      const int64_t count = std::min(kTileRows, rows - begin);
      const auto [memory, stride] = logits_at(begin, piece, worker);
      logits(row + begin, count, piece, memory, stride);
      reduce(row + begin, count, piece, memory, stride, keep, !best.empty(), workspace.partial + begin * pieces,
             logprobs);
    });
    pool.run(tiles, [&](int64_t tile) {
      const int64_t end = std::min(rows, (tile + 1) * kTileRows);
      for (int64_t r = tile * kTileRows; r < end; ++r) {
        const Partial* partial = workspace.partial + r * pieces;
        const Partial* largest = std::max_element(partial, partial + pieces,
                                                  [](const Partial& a, const Partial& b) { return a.max < b.max; });
        double sum = 0;
        for (int64_t c = 0; c < pieces; ++c)
          sum += partial[c].sum * std::exp(static_cast<double>(partial[c].max) - static_cast<double>(largest->max));
        lse[r] = static_cast<double>(largest->max) + std::log(sum);
        if (!best.empty()) best[static_cast<size_t>(row + r)] = largest->best;
        const TargetRange range = targets_of(targets, row + r, row + r + 1);
        for (size_t t = range.begin; t < range.end; ++t)
          logprobs[t] = static_cast<float>(static_cast<double>(logprobs[t]) - lse[r]);
      }
    });
  }

  /// One row of a piece: y becomes dlogits = sum over targets i of dlogprob_i (onehot(token_i) - softmax). It holds the
  /// logits or, with `kept`, what reduce kept.
  void to_dlogits(int64_t row, int64_t piece, double lse, const Partial* kept, std::span<const float> logprobs,
                  std::span<const float> dlogprobs, float* y) const {
    const int64_t col = piece * kPiece;
    const int64_t cols = piece_cols(piece);
    const TargetRange range = targets_of(targets, row, row + 1);
    double total = 0;
    for (size_t t = range.begin; t < range.end; ++t) total += static_cast<double>(dlogprobs[t]);
    if (total == 0) {
      std::fill_n(y, cols, 0.0F);
    } else if (kept != nullptr) {
      loop.scale(y, cols, static_cast<float>(-total * std::exp(static_cast<double>(kept->max) - lse)), y);
    } else {
      const auto shift = static_cast<float>(lse);
      loop.exp(y, cols, shift, 1, static_cast<float>(-total * std::exp(static_cast<double>(shift) - lse)), y);
    }
    for (size_t t = range.begin; t < range.end; ++t) {
      const int64_t at = targets[t].token - col;
      if (at < 0 || at >= cols) continue;
      const auto logprob = static_cast<double>(logprobs[t]);
      double gradient = 0;
      for (size_t other = range.begin; other < range.end; ++other) {
        const bool same = targets[other].token == targets[t].token;
        gradient += static_cast<double>(dlogprobs[other]) * (same ? -std::expm1(logprob) : -std::exp(logprob));
      }
      y[at] = static_cast<float>(gradient);
    }
  }

  /// dx (a chain over the chunks) and dweight of rows [row, row + rows) and one chunk. y holds what reduce kept, or is
  /// filled here.
  void backward_chunk(int64_t row, int64_t rows, int64_t chunk, bool kept, const PackedMatrix& backward,
                      std::span<const float> logprobs, const double* lse, std::span<const float> dlogprobs, float* y,
                      int64_t stride, Tensor dx, Tensor dweight) const {
    const int64_t tile = row_tile(rows, pool.threads());
    const int64_t cols = chunk_cols(chunk);
    const PackedMatrix weight = backward.slice_depth(chunk * kVocabChunk, cols, isa);
    pool.run(ceil_div(rows, tile), [&](int64_t task) {
      const int64_t begin = task * tile;
      const int64_t count = std::min(tile, rows - begin);
      float* const values = y + begin * stride;
      for (int64_t col = 0; col < cols; col += kPiece) {
        const int64_t piece = (chunk * kVocabChunk + col) / kPiece;
        if (!kept) logits(row + begin, count, piece, values + col, stride);
        for (int64_t i = 0; i < count; ++i) {
          const Partial* partial = kept ? workspace.partial + (begin + i) * num_pieces(vocab()) + piece : nullptr;
          to_dlogits(row + begin + i, piece, lse[begin + i], partial, logprobs, dlogprobs, values + col + i * stride);
        }
      }
      float* const out = dx.row(row + begin);
      gemm(pool, isa, count, values, stride, weight, out, dx.stride,
           {.start = chunk == 0 ? nullptr : out, .stride = dx.stride, .bias = nullptr}, workspace.gemm);
    });
    gemm_dweight(pool, isa, rows, y, stride, cols, x.row(row), x.stride, x.cols, dweight.row(chunk * kVocabChunk),
                 workspace.gemm);
  }
};

}  // namespace

size_t head_workspace_floats(int64_t rows, int64_t hidden, int64_t vocab, int threads, bool training) {
  int64_t logits = threads * kTileRows * kPiece;
  if (training) {
    logits = std::max({logits, Workspace::block_rows(rows) * kVocabChunk,
                       std::min(rows, kept_rows(vocab, threads)) * kept_stride(vocab)});
  }
  return static_cast<size_t>(Workspace::fixed_floats(rows, hidden, vocab, threads) + logits);
}

void logprob_forward(ThreadPool& pool, Isa isa, Tensor x, const PackedMatrix& forward,
                     std::span<const HeadTarget> targets, std::span<float> logprobs, std::span<double> lse,
                     std::span<int32_t> best, float* workspace) {
  const Head head{pool, isa, x, forward, targets, Workspace(workspace, x.rows, x.cols, forward.cols, pool.threads())};
  for (int64_t row = 0; row < x.rows; row += kBlockRows) {
    head.forward_block(row, std::min(kBlockRows, x.rows - row), logprobs, lse.data() + row, best, false,
                       [&](int64_t, int64_t, int worker) {
                         return Place{head.workspace.logits + worker * kTileRows * kPiece, kPiece};
                       });
  }
}

void logprob_backward(ThreadPool& pool, Isa isa, Tensor x, const PackedMatrix& forward, const PackedMatrix& backward,
                      std::span<const HeadTarget> targets, std::span<const float> logprobs, std::span<const double> lse,
                      std::span<const float> dlogprobs, Tensor dx, Tensor dweight, float* workspace) {
  const Head head{pool, isa, x, forward, targets, Workspace(workspace, x.rows, x.cols, forward.cols, pool.threads())};
  for (int64_t row = 0; row < x.rows; row += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, x.rows - row);
    for (int64_t chunk = 0; chunk < num_chunks(forward.cols); ++chunk) {
      head.backward_chunk(row, rows, chunk, false, backward, logprobs, lse.data() + row, dlogprobs,
                          head.workspace.logits, kVocabChunk, dx, dweight);
    }
  }
}

void logprob_forward_backward(ThreadPool& pool, Isa isa, Tensor x, const PackedMatrix& forward,
                              const PackedMatrix& backward, std::span<const HeadTarget> targets,
                              std::span<const float> dlogprobs, std::span<float> logprobs, Tensor dx, Tensor dweight,
                              float* workspace) {
  const Head head{pool, isa, x, forward, targets, Workspace(workspace, x.rows, x.cols, forward.cols, pool.threads())};
  const int64_t stride = kept_stride(forward.cols);
  const int64_t block = kept_rows(forward.cols, pool.threads());
  for (int64_t row = 0; row < x.rows; row += block) {
    const int64_t rows = std::min(block, x.rows - row);
    float* const kept = head.workspace.logits;
    head.forward_block(row, rows, logprobs, head.workspace.lse, {}, true, [&](int64_t begin, int64_t piece, int) {
      return Place{kept + begin * stride + piece * kPiece, stride};
    });
    for (int64_t chunk = 0; chunk < num_chunks(forward.cols); ++chunk) {
      head.backward_chunk(row, rows, chunk, true, backward, logprobs, head.workspace.lse, dlogprobs,
                          kept + chunk * kVocabChunk, stride, dx, dweight);
    }
  }
}

}  // namespace gleaner::cpu
