// Attention against fp64, on random forests, and its promise: a query's bits depend on nothing but its path.
#include "ops/cpu/attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace gleaner::cpu {
namespace {

constexpr float kGuard = 12345.678f;

/// A matrix whose rows stand apart, with a guard zone before, between and after them.
class Guarded {
 public:
  Guarded(int64_t rows, int64_t cols, int64_t gap = 5) : rows_(rows), cols_(cols), stride_(cols + gap) {
    values_.assign(static_cast<size_t>(rows * stride_ + 2 * kZone), kGuard);
  }
  Tensor tensor() { return {values_.data() + kZone, rows_, cols_, stride_, DType::f32}; }
  float& at(int64_t row, int64_t col) { return values_[static_cast<size_t>(kZone + row * stride_ + col)]; }
  void fill_random(std::mt19937& random, float deviation = 1) {
    std::normal_distribution<float> normal(0, deviation);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) at(r, c) = normal(random);
    }
  }
  bool guards_intact() {
    for (int64_t i = 0; i < static_cast<int64_t>(values_.size()); ++i) {
      const int64_t inner = i - kZone;
      const bool inside = inner >= 0 && inner < rows_ * stride_ && inner % stride_ < cols_;
      if (!inside && values_[static_cast<size_t>(i)] != kGuard) return false;
    }
    return true;
  }
  /// Every element was written.
  bool covered() {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) {
        if (at(r, c) == kGuard) return false;
      }
    }
    return true;
  }

 private:
  static constexpr int64_t kZone = 64;
  int64_t rows_, cols_, stride_;
  std::vector<float> values_;
};

std::vector<Isa> present_isas() {
  std::vector<Isa> isas{Isa::portable};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::avx2);
  if (__builtin_cpu_supports("avx512f")) isas.push_back(Isa::avx512);
#endif
  return isas;
}

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "";
}

struct Shape {
  int64_t length = 0;
  int32_t parent = -1;
};

Forest forest_of(const std::vector<Shape>& shapes) {
  Forest forest;
  for (const Shape& shape : shapes) {
    const auto index = static_cast<int32_t>(forest.segments.size());
    Segment segment{
        .start = forest.tokens, .length = shape.length, .parent = shape.parent, .root = index, .position = 0};
    if (shape.parent >= 0) {
      const Segment& parent = forest.segments[static_cast<size_t>(shape.parent)];
      segment.root = parent.root;
      segment.position = parent.position + parent.length;
    }
    for (int64_t t = 0; t < shape.length; ++t) forest.positions.push_back(static_cast<int32_t>(segment.position + t));
    forest.all.push_back({.segment = index, .offset = 0, .count = shape.length, .row = forest.tokens});
    forest.tokens += shape.length;
    forest.segments.push_back(segment);
  }
  return forest;
}

Forest random_forest(std::mt19937& random) {
  const auto draw = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  std::vector<Shape> shapes;
  const int64_t trees = draw(1, 3);
  for (int64_t tree = 0; tree < trees; ++tree) {
    const auto root = static_cast<int64_t>(shapes.size());
    std::vector<int> depths{0};
    shapes.push_back({draw(1, 70), -1});
    for (int64_t more = draw(0, 4); more > 0; --more) {
      const int64_t parent = draw(0, static_cast<int64_t>(depths.size()) - 1);
      if (depths[static_cast<size_t>(parent)] >= 3) continue;
      depths.push_back(depths[static_cast<size_t>(parent)] + 1);
      shapes.push_back({draw(1, 70), static_cast<int32_t>(root + parent)});
    }
  }
  return forest_of(shapes);
}

/// Of each segment no row, all rows or a suffix.
std::vector<QueryRange> random_queries(const Forest& forest, std::mt19937& random) {
  std::vector<QueryRange> queries;
  int64_t row = 0;
  for (size_t s = 0; s < forest.segments.size(); ++s) {
    const int64_t length = forest.segments[s].length;
    const int64_t kind = std::uniform_int_distribution<int64_t>(0, 3)(random);
    const int64_t count = kind == 0   ? 0
                          : kind == 1 ? length
                                      : std::uniform_int_distribution<int64_t>(1, length)(random);
    if (count == 0 && !(s + 1 == forest.segments.size() && row == 0)) continue;
    const int64_t now = std::max<int64_t>(1, count);
    queries.push_back({.segment = static_cast<int32_t>(s), .offset = length - now, .count = now, .row = row});
    row += now;
  }
  return queries;
}

int64_t num_rows(const std::vector<QueryRange>& queries) { return queries.back().row + queries.back().count; }

OpsLimits limits_of(const Forest& forest, const AttentionShape& shape) {
  int64_t path = 0;
  for (const Segment& segment : forest.segments) path = std::max(path, segment.position + segment.length);
  return {
      .rows = forest.tokens, .path_tokens = path, .heads = shape.heads, .head_dim = shape.head_dim, .training = true};
}

/// Exactly as many floats as were promised, 64-byte aligned, guarded behind.
class Workspace {
 public:
  explicit Workspace(size_t floats) : floats_(floats), values_(floats + 32, kGuard) {}
  float* data() {
    void* start = values_.data();
    size_t space = values_.size() * sizeof(float);
    return static_cast<float*>(std::align(64, floats_ * sizeof(float), start, space));
  }
  bool intact() { return data()[floats_] == kGuard && data()[floats_ + 1] == kGuard; }

 private:
  size_t floats_;
  std::vector<float> values_;
};

struct Reference {
  std::vector<double> out, lse, dq, dk, dv;
};

/// All in fp64, key by key.
Reference reference_of(const Forest& forest, const std::vector<QueryRange>& queries, const AttentionShape& shape,
                       Guarded& q, Guarded& k, Guarded& v, Guarded* dout) {
  const int64_t rows = num_rows(queries), dim = shape.head_dim, group = shape.heads / shape.kv_heads;
  const auto size = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
  Reference result{.out = std::vector<double>(size(rows, shape.heads * dim)),
                   .lse = std::vector<double>(size(rows, shape.heads)),
                   .dq = std::vector<double>(size(rows, shape.heads * dim)),
                   .dk = std::vector<double>(size(forest.tokens, shape.kv_heads * dim)),
                   .dv = std::vector<double>(size(forest.tokens, shape.kv_heads * dim))};
  for (const QueryRange& range : queries) {
    for (int64_t i = 0; i < range.count; ++i) {
      std::vector<int64_t> keys;  // stream rows, by position
      int64_t end = range.offset + i + 1;
      for (int32_t s = range.segment; s >= 0; s = forest.segments[static_cast<size_t>(s)].parent) {
        const Segment& segment = forest.segments[static_cast<size_t>(s)];
        if (s != range.segment) end = segment.length;
        for (int64_t t = end - 1; t >= 0; --t) keys.insert(keys.begin(), segment.start + t);
      }
      if (shape.window > 0 && static_cast<int64_t>(keys.size()) > shape.window)
        keys.erase(keys.begin(), keys.end() - shape.window);
      const int64_t row = range.row + i;
      for (int64_t h = 0; h < shape.heads; ++h) {
        const int64_t kv = h / group * dim, hd = h * dim;
        std::vector<double> p(keys.size());
        double most = -1e300, sum = 0;
        for (size_t j = 0; j < keys.size(); ++j) {
          double score = 0;
          for (int64_t d = 0; d < dim; ++d) score += static_cast<double>(q.at(row, hd + d)) * k.at(keys[j], kv + d);
          p[j] = score * shape.scale;
          most = std::max(most, p[j]);
        }
        for (double& x : p) sum += std::exp(x - most);
        const double lse = most + std::log(sum);
        result.lse[static_cast<size_t>(row * shape.heads + h)] = lse;
        double* out = &result.out[static_cast<size_t>(row * shape.heads * dim + hd)];
        for (size_t j = 0; j < keys.size(); ++j) {
          p[j] = std::exp(p[j] - lse);
          for (int64_t d = 0; d < dim; ++d) out[d] += p[j] * v.at(keys[j], kv + d);
        }
        if (dout == nullptr) continue;
        double delta = 0;
        for (int64_t d = 0; d < dim; ++d) delta += dout->at(row, hd + d) * out[d];
        for (size_t j = 0; j < keys.size(); ++j) {
          double dp = 0;
          for (int64_t d = 0; d < dim; ++d) dp += static_cast<double>(dout->at(row, hd + d)) * v.at(keys[j], kv + d);
          const double ds = p[j] * (dp - delta) * shape.scale;
          const auto key = static_cast<size_t>(keys[j] * shape.kv_heads * dim + kv);
          for (int64_t d = 0; d < dim; ++d) {
            const auto at = static_cast<size_t>(d);
            result.dq[static_cast<size_t>(row * shape.heads * dim + hd + d)] += ds * k.at(keys[j], kv + d);
            result.dk[key + at] += ds * q.at(row, hd + d);
            result.dv[key + at] += p[j] * dout->at(row, hd + d);
          }
        }
      }
    }
  }
  return result;
}

/// Largest |a - b| over 1 + |b|.
double difference(Guarded& a, const std::vector<double>& b, int64_t cols) {
  double worst = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    const double error = std::abs(a.at(index / cols, index % cols) - b[i]) / (1 + std::abs(b[i]));
    worst = error <= worst ? worst : error;  // a NaN stays
  }
  return worst;
}

struct Case {
  int64_t heads, kv_heads, head_dim, window;
};
const std::vector<Case> kCases = {{2, 2, 8, 0},  {4, 4, 16, 0}, {4, 2, 32, 0},  {2, 2, 48, 33},
                                  {6, 2, 64, 0}, {2, 1, 80, 7}, {3, 3, 128, 0}, {8, 1, 64, 20},
                                  {3, 1, 12, 0}, {1, 1, 20, 1}, {72, 1, 8, 40}, {4, 4, 32, 90}};

AttentionShape shape_of(const Case& at) {
  return {at.heads, at.kv_heads, at.head_dim, static_cast<float>(1 / std::sqrt(static_cast<double>(at.head_dim))),
          at.window};
}

/// Inputs and outputs of one call; k and v are the halves of one matrix, as in training.
struct Problem {
  Problem(Forest of_forest, std::vector<QueryRange> of_queries, const AttentionShape& of_shape)
      : forest(std::move(of_forest)),
        queries(std::move(of_queries)),
        shape(of_shape),
        q(num_rows(queries), shape.heads * shape.head_dim),
        kv(forest.tokens, 2 * shape.kv_heads * shape.head_dim),
        k(forest.tokens, shape.kv_heads * shape.head_dim),
        v(forest.tokens, shape.kv_heads * shape.head_dim),
        dout(num_rows(queries), shape.heads * shape.head_dim),
        out(num_rows(queries), shape.heads * shape.head_dim),
        lse(num_rows(queries), shape.heads),
        dq(num_rows(queries), shape.heads * shape.head_dim),
        dkv(forest.tokens, 2 * shape.kv_heads * shape.head_dim) {}

  void fill_random(std::mt19937& random) {
    q.fill_random(random, 2);
    k.fill_random(random);
    v.fill_random(random);
    dout.fill_random(random);
  }
  void forward(Isa isa, int threads) {
    const int64_t half = shape.kv_heads * shape.head_dim;
    for (int64_t t = 0; t < forest.tokens; ++t) {
      for (int64_t c = 0; c < half; ++c) {
        kv.at(t, c) = k.at(t, c);
        kv.at(t, half + c) = v.at(t, c);
      }
    }
    ThreadPool pool(threads);
    Workspace workspace(attention_workspace_floats(limits_of(forest, shape), threads));
    attention_forward(pool, isa, forest, queries, shape, q.tensor(), kv.tensor().slice_cols(0, half),
                      kv.tensor().slice_cols(half, half), out.tensor(), lse.tensor(), workspace.data());
    CHECK(workspace.intact());
    CHECK(out.guards_intact());
    CHECK(lse.guards_intact());
  }
  void backward(Isa isa, int threads) {
    const int64_t half = shape.kv_heads * shape.head_dim;
    ThreadPool pool(threads);
    Workspace workspace(attention_workspace_floats(limits_of(forest, shape), threads));
    attention_backward(pool, isa, forest, queries, shape, dout.tensor(), q.tensor(), kv.tensor().slice_cols(0, half),
                       kv.tensor().slice_cols(half, half), out.tensor(), lse.tensor(), dq.tensor(),
                       dkv.tensor().slice_cols(0, half), dkv.tensor().slice_cols(half, half), workspace.data());
    CHECK(workspace.intact());
    CHECK(dq.guards_intact());
    CHECK(dkv.guards_intact());
    CHECK(dkv.covered());
  }

  Forest forest;
  std::vector<QueryRange> queries;
  AttentionShape shape;
  Guarded q, kv, k, v, dout, out, lse, dq, dkv;
};

TEST_CASE("attention and its gradient are those of fp64, for every forest, shape and instruction set") {
  std::mt19937 random(7);
  for (const Case& at : kCases) {
    for (int round = 0; round < 3; ++round) {
      Forest forest = random_forest(random);
      auto queries = random_queries(forest, random);
      Problem problem(forest, queries, shape_of(at));
      problem.fill_random(random);
      const Reference expected =
          reference_of(forest, queries, problem.shape, problem.q, problem.k, problem.v, &problem.dout);
      const int64_t cols = at.heads * at.head_dim, half = at.kv_heads * at.head_dim;
      for (const Isa isa : present_isas()) {
        CAPTURE(name_of(isa));
        CAPTURE(at.heads);
        CAPTURE(at.head_dim);
        CAPTURE(at.window);
        problem.forward(isa, 1);
        // fp32: scores reach 10, so that a rounding of 1e-6 there is one of 1e-6 in a probability.
        CHECK(difference(problem.out, expected.out, cols) < 1e-5);
        CHECK(difference(problem.lse, expected.lse, at.heads) < 2e-6);
        problem.backward(isa, 1);
        CHECK(difference(problem.dq, expected.dq, cols) < 1e-5);
        Guarded dk(forest.tokens, half), dv(forest.tokens, half);
        for (int64_t t = 0; t < forest.tokens; ++t) {
          for (int64_t c = 0; c < half; ++c) {
            dk.at(t, c) = problem.dkv.at(t, c);
            dv.at(t, c) = problem.dkv.at(t, half + c);
          }
        }
        // A key's gradient sums up to 300 queries times the group.
        CHECK(difference(dk, expected.dk, half) < 2e-5);
        CHECK(difference(dv, expected.dv, half) < 2e-5);
      }
    }
  }
}

TEST_CASE("attention: long paths are cut into several blocks of scores") {
  std::mt19937 random(8);
  const Forest forest = forest_of({{1500, -1}, {40, 0}, {700, 0}});
  const std::vector<QueryRange> queries = {{0, 1480, 20, 0}, {1, 0, 40, 20}, {2, 600, 100, 60}};
  for (const int64_t window : {int64_t{0}, int64_t{900}}) {
    Problem problem(forest, queries, {2, 1, 32, 0.2f, window});
    problem.fill_random(random);
    const Reference expected =
        reference_of(forest, queries, problem.shape, problem.q, problem.k, problem.v, &problem.dout);
    for (const Isa isa : present_isas()) {
      problem.forward(isa, 2);
      CHECK(difference(problem.out, expected.out, 64) < 1e-5);
      problem.backward(isa, 2);
      CHECK(difference(problem.dq, expected.dq, 64) < 1e-5);
    }
  }
}

TEST_CASE("the fp64 reference's gradient is its finite difference") {
  std::mt19937 random(9);
  const Forest forest = forest_of({{4, -1}, {3, 0}, {2, 0}});
  const std::vector<QueryRange> queries = {{0, 3, 1, 0}, {1, 0, 3, 1}, {2, 1, 1, 4}};
  Problem problem(forest, queries, {4, 2, 8, 0.3f, 5});
  problem.fill_random(random);
  const auto loss = [&] {
    const Reference at = reference_of(forest, queries, problem.shape, problem.q, problem.k, problem.v, nullptr);
    double sum = 0;
    for (size_t i = 0; i < at.out.size(); ++i)
      sum += at.out[i] * problem.dout.at(static_cast<int64_t>(i) / 32, static_cast<int64_t>(i) % 32);
    return sum;
  };
  const Reference expected =
      reference_of(forest, queries, problem.shape, problem.q, problem.k, problem.v, &problem.dout);
  const auto check = [&](Guarded& input, const std::vector<double>& gradient, int64_t cols) {
    for (size_t i = 0; i < gradient.size(); i += 7) {
      float& value = input.at(static_cast<int64_t>(i) / cols, static_cast<int64_t>(i) % cols);
      const float kept = value, above = kept + 0.0078125f, below = kept - 0.0078125f;
      value = above;
      const double high = loss();
      value = below;
      const double low = loss();
      value = kept;
      CHECK((high - low) / (static_cast<double>(above) - below) ==
            doctest::Approx(gradient[i]).epsilon(2e-3));  // step² times the third derivative
    }
  };
  check(problem.q, expected.dq, 32);
  check(problem.k, expected.dk, 16);
  check(problem.v, expected.dv, 16);
}

/// Two sequences of a shared prompt, held token by token, so that any cut of them can be laid out.
struct Sequences {
  Sequences(const AttentionShape& of_shape, int64_t prompt, std::vector<int64_t> responses, std::mt19937& random)
      : shape(of_shape), prompt_length(prompt) {
    int64_t tokens = prompt;
    for (const int64_t length : responses) {
      first.push_back(tokens);
      tokens += length;
    }
    lengths = std::move(responses);
    q = std::make_unique<Guarded>(tokens, shape.heads * shape.head_dim);
    k = std::make_unique<Guarded>(tokens, shape.kv_heads * shape.head_dim);
    v = std::make_unique<Guarded>(tokens, shape.kv_heads * shape.head_dim);
    q->fill_random(random, 2);
    k->fill_random(random);
    v->fill_random(random);
  }
  int64_t length(size_t sequence) const { return prompt_length + lengths[sequence]; }
  /// Row of q, k, v of a sequence's token at a position.
  int64_t token(size_t sequence, int64_t position) const {
    return position < prompt_length ? position : first[sequence] + position - prompt_length;
  }
  AttentionShape shape;
  int64_t prompt_length;
  std::vector<int64_t> lengths, first;
  std::unique_ptr<Guarded> q, k, v;
};

using Rows = std::vector<std::vector<float>>;  // by position: out, then lse

void copy_row(Guarded& from, int64_t row, Guarded& to, int64_t to_row, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) to.at(to_row, c) = from.at(row, c);
}

/// One segment of a laid-out forest: positions [begin, end) of a sequence.
struct Piece {
  size_t sequence;
  int64_t begin, end;
  int32_t parent;
};

/// The rows of one sequence, found in the pieces that `path` names; gradients too, for dq depends on its path only.
Rows rows_of(const Sequences& sequences, const std::vector<Piece>& pieces, const std::vector<size_t>& path, Isa isa,
             int threads) {
  std::vector<Shape> shapes;
  for (const Piece& piece : pieces) shapes.push_back({piece.end - piece.begin, piece.parent});
  const Forest forest = forest_of(shapes);
  Problem problem(forest, forest.all, sequences.shape);
  const int64_t cols = sequences.shape.heads * sequences.shape.head_dim,
                half = sequences.shape.kv_heads * sequences.shape.head_dim;
  for (size_t s = 0; s < pieces.size(); ++s) {
    for (int64_t position = pieces[s].begin; position < pieces[s].end; ++position) {
      const int64_t token = sequences.token(pieces[s].sequence, position),
                    row = forest.segments[s].start + position - pieces[s].begin;
      copy_row(*sequences.q, token, problem.q, row, cols);
      copy_row(*sequences.q, token, problem.dout, row, cols);
      copy_row(*sequences.k, token, problem.k, row, half);
      copy_row(*sequences.v, token, problem.v, row, half);
    }
  }
  problem.forward(isa, threads);
  problem.backward(isa, threads);
  Rows rows;
  for (const size_t s : path) {
    for (int64_t t = 0; t < forest.segments[s].length; ++t) {
      const int64_t row = forest.segments[s].start + t;
      std::vector<float> values;
      for (int64_t c = 0; c < cols; ++c) values.push_back(problem.out.at(row, c));
      for (int64_t h = 0; h < sequences.shape.heads; ++h) values.push_back(problem.lse.at(row, h));
      for (int64_t c = 0; c < cols; ++c) values.push_back(problem.dq.at(row, c));
      rows.push_back(std::move(values));
    }
  }
  return rows;
}

bool same_bits(const Rows& a, const Rows& b, size_t values) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(a[i].data(), b[i].data(), values * sizeof(float)) != 0) return false;
  }
  return true;
}

/// The same sequence over pages in shuffled places: rows in calls of `step` rows, beside another sequence of one row.
Rows cached_rows(const Sequences& sequences, size_t sequence, int64_t page_size, int64_t step, Isa isa, int threads,
                 std::mt19937& random) {
  const AttentionShape& shape = sequences.shape;
  const int64_t cols = shape.heads * shape.head_dim, half = shape.kv_heads * shape.head_dim,
                length = sequences.length(sequence);
  const int64_t num_pages = (length + page_size - 1) / page_size;
  std::vector<int32_t> pages(static_cast<size_t>(num_pages) + 3);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
  std::shuffle(pages.begin(), pages.end(), random);
  const int64_t slots = static_cast<int64_t>(pages.size()) * page_size;
  Guarded cache_k(slots, half), cache_v(slots, half);
  for (int64_t s = 0; s < slots; ++s) {  // what was never written must not be read into a result
    for (int64_t c = 0; c < half; ++c) cache_k.at(s, c) = cache_v.at(s, c) = std::nanf("");
  }
  ThreadPool pool(threads);
  OpsLimits limits{.rows = step + 1, .path_tokens = length, .heads = shape.heads, .head_dim = shape.head_dim};
  Workspace workspace(attention_workspace_floats(limits, threads));
  const std::vector<int32_t> other_pages{pages.back()};
  Rows rows;
  for (int64_t position = 0; position < length; position += step) {
    const int64_t count = std::min(step, length - position);
    Guarded q(count + 1, cols), k(count + 1, half), v(count + 1, half), out(count + 1, cols);
    std::vector<int64_t> to;
    for (int64_t i = 0; i <= count; ++i) {
      const int64_t at = std::min(position + i, length - 1), token = sequences.token(sequence, at);
      copy_row(*sequences.q, token, q, i, cols);
      copy_row(*sequences.k, token, k, i, half);
      copy_row(*sequences.v, token, v, i, half);
      to.push_back(i == count ? int64_t{other_pages[0]} * page_size
                              : int64_t{pages[static_cast<size_t>(at / page_size)]} * page_size + at % page_size);
    }
    cache_write(pool, k.tensor(), v.tensor(), to, cache_k.tensor(), cache_v.tensor());
    const std::vector<CachedQuery> queries = {{.row = 0, .count = count, .position = position, .pages = pages},
                                              {.row = count, .count = 1, .position = 0, .pages = other_pages}};
    attention_cached(pool, isa, queries, page_size, shape, q.tensor(), cache_k.tensor(), cache_v.tensor(), out.tensor(),
                     workspace.data());
    CHECK(out.guards_intact());
    for (int64_t i = 0; i < count; ++i) {
      std::vector<float> values;
      for (int64_t c = 0; c < cols; ++c) values.push_back(out.at(i, c));
      rows.push_back(std::move(values));
    }
  }
  CHECK(workspace.intact());
  CHECK(cache_k.guards_intact());
  CHECK(cache_v.guards_intact());
  return rows;
}

TEST_CASE("a query has the same bits shared, copied, split, alone, paged and with any number of threads") {
  std::mt19937 random(10);
  for (const Case& at : kCases) {
    if (at.heads > 8) continue;
    const AttentionShape shape = shape_of(at);
    Sequences sequences(shape, 77, {90, 41}, random);
    const auto out_values = static_cast<size_t>(at.heads * at.head_dim),
               all_values = 2 * out_values + static_cast<size_t>(at.heads);
    for (const Isa isa : present_isas()) {
      CAPTURE(name_of(isa));
      CAPTURE(at.head_dim);
      CAPTURE(at.window);
      for (size_t s = 0; s < 2; ++s) {
        const int64_t end = sequences.length(s);
        const Rows alone = rows_of(sequences, {{s, 0, end, -1}}, {0}, isa, 1);
        for (const int threads : {1, 2, 3}) {
          const std::vector<Piece> shared = {{0, 0, 77, -1}, {0, 77, 167, 0}, {1, 77, 118, 0}};
          // dq of the prompt's rows is the same too: it depends on its path, not on who comes after.
          CHECK(same_bits(alone, rows_of(sequences, shared, {0, s + 1}, isa, threads), all_values));
          const std::vector<Piece> copies = {{1, 0, 118, -1}, {0, 0, 167, -1}, {1, 5, 9, -1}};
          CHECK(same_bits(alone, rows_of(sequences, copies, {1 - s}, isa, threads), all_values));
        }
        const std::vector<Piece> split = {
            {1 - s, 0, 40, -1}, {s, 0, 3, -1}, {s, 3, 36, 1}, {s, 36, 97, 2}, {s, 97, end, 3}};
        CHECK(same_bits(alone, rows_of(sequences, split, {1, 2, 3, 4}, isa, 2), all_values));
        for (const int64_t page_size : {16, 32}) {
          for (const int64_t step : {int64_t{1}, int64_t{7}, int64_t{50}, end}) {
            CAPTURE(page_size);
            CAPTURE(step);
            CHECK(same_bits(cached_rows(sequences, s, page_size, step, isa, step == 50 ? 3 : 1, random), alone,
                            out_values));
          }
        }
      }
    }
  }
}

TEST_CASE("what another segment holds, NaN included, reaches no result of a query that does not see it") {
  std::mt19937 random(11);
  const Forest forest = forest_of({{30, -1}, {37, 0}, {20, 0}, {45, -1}});
  for (const int64_t window : {int64_t{0}, int64_t{12}}) {
    const AttentionShape shape{4, 2, 32, 0.2f, window};
    for (const Isa isa : present_isas()) {
      Problem problem(forest, forest.all, shape);
      problem.fill_random(random);
      problem.forward(isa, 1);
      problem.backward(isa, 1);
      Problem kept = problem;
      for (int64_t t = 67; t < 87; ++t) {  // segment 2
        for (int64_t c = 0; c < 64; ++c) problem.k.at(t, c) = problem.v.at(t, c) = std::nanf("");
      }
      problem.forward(isa, 1);
      problem.backward(isa, 1);
      bool same = true;
      for (const Segment& segment : forest.segments) {
        if (segment.start == 67) continue;
        for (int64_t t = segment.start; t < segment.start + segment.length; ++t) {
          for (int64_t c = 0; c < 128; ++c)
            same = same && problem.out.at(t, c) == kept.out.at(t, c) && problem.dq.at(t, c) == kept.dq.at(t, c);
          if (segment.start == 0) continue;  // the prompt's keys are seen by segment 2
          for (int64_t c = 0; c < 128; ++c) same = same && problem.dkv.at(t, c) == kept.dkv.at(t, c);
        }
      }
      CHECK(same);
      CHECK(std::isnan(problem.out.at(70, 0)));  // nor is a NaN hidden where it is seen
      CHECK(std::isnan(problem.dkv.at(70, 0)));
    }
  }
}

TEST_CASE("attention: gradients have the same bits with any number of threads, keys that no query sees get 0") {
  std::mt19937 random(12);
  const Forest forest = forest_of({{50, -1}, {70, 0}, {33, 0}, {64, -1}, {9, 3}});
  const std::vector<QueryRange> queries = {{1, 60, 10, 0}, {2, 30, 3, 10}};
  for (const Isa isa : present_isas()) {
    Problem problem(forest, queries, {8, 4, 16, 0.25f, 25});
    problem.fill_random(random);
    problem.forward(isa, 1);
    problem.backward(isa, 1);
    Problem kept = problem;
    for (const int threads : {2, 3}) {
      problem.forward(isa, threads);
      problem.backward(isa, threads);
      bool same = true;
      for (int64_t t = 0; t < forest.tokens; ++t) {
        for (int64_t c = 0; c < 128; ++c) same = same && problem.dkv.at(t, c) == kept.dkv.at(t, c);
      }
      CHECK(same);
    }
    // Segment 2's queries at positions 80 … 82 reach back to 56, segment 1's at 110 … 119 to 86: nobody sees the prompt
    // or the other tree.
    bool zero = true;
    for (int64_t c = 0; c < 128; ++c) {
      for (int64_t t = 0; t < 50; ++t) zero = zero && problem.dkv.at(t, c) == 0;
      for (int64_t t = 153; t < forest.tokens; ++t) zero = zero && problem.dkv.at(t, c) == 0;
    }
    CHECK(zero);
    CHECK(problem.dkv.at(100, 0) != 0);
  }
}

}  // namespace
}  // namespace gleaner::cpu
