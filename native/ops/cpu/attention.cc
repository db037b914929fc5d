// Forward: chunks of (block of queries, kv head). Backward: chunks of (tree, kv head), inside which key blocks go in
// stream order and for each of them the queries that see it, so that dq, dk and dv are each one sum in order, without
// atomics.
#include "ops/cpu/attention.h"

#include <algorithm>
#include <cassert>

#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/attention_schedule.h"

namespace gleaner::cpu {

namespace {

/// rows[i] = stream row of the key at position base + i, for positions [base, end) of the segment's path.
void path_rows(const Forest& forest, int32_t segment, int64_t base, int64_t end, int32_t* rows) {
  for (int32_t s = segment; s >= 0 && end > base; s = forest.segments[static_cast<size_t>(s)].parent) {
    const Segment& at = forest.segments[static_cast<size_t>(s)];
    for (int64_t position = std::max(base, at.position); position < end; ++position) {
      rows[position - base] = static_cast<int32_t>(at.start + position - at.position);
    }
    end = std::min(end, at.position);
  }
}

bool is_on_path(const Forest& forest, int32_t segment, int32_t leaf) {
  while (leaf > segment) leaf = forest.segments[static_cast<size_t>(leaf)].parent;
  return leaf == segment;
}

struct Gradients {
  const Forest& forest;
  std::span<const QueryRange> queries;
  const AttentionShape& shape;
  const AttentionKernels& kernels;
  Tensor dout, q, k, v, lse, delta, dq, dk, dv;
};

void backward_tree(const Gradients& of, int32_t root, int64_t kv_head, float* scratch) {
  const auto& segments = of.forest.segments;
  const int64_t group = of.shape.heads / of.shape.kv_heads, head_dim = of.shape.head_dim, head = kv_head * group;
  const int64_t block_queries = max_block_rows(group) / group;
  const auto tree_begin = std::partition_point(of.queries.begin(), of.queries.end(),
                                               [&](const QueryRange& range) { return range.segment < root; });

  for (auto s = static_cast<size_t>(root); s < segments.size() && segments[s].root == root; ++s) {
    const Segment& segment = segments[s];
    for (int64_t offset = 0; offset < segment.length; offset += kBlockKeys) {
      const int64_t row = segment.start + offset;
      const BackwardKeys keys{.k = of.k.row(row) + kv_head * head_dim,
                              .v = of.v.row(row) + kv_head * head_dim,
                              .k_stride = of.k.stride,
                              .v_stride = of.v.stride,
                              .dk = of.dk.row(row) + kv_head * head_dim,
                              .dv = of.dv.row(row) + kv_head * head_dim,
                              .dk_stride = of.dk.stride,
                              .dv_stride = of.dv.stride,
                              .position = segment.position + offset,
                              .keys = std::min(kBlockKeys, segment.length - offset),
                              .group = group,
                              .head_dim = head_dim,
                              .window = of.shape.window,
                              .scale = of.shape.scale};
      of.kernels.backward_begin(keys, scratch);
      const int64_t last_position = keys.position + keys.keys - 1;
      for (auto range = tree_begin; range != of.queries.end(); ++range) {
        const Segment& asking = segments[static_cast<size_t>(range->segment)];
        if (asking.root != root) break;
        if (!is_on_path(of.forest, static_cast<int32_t>(s), range->segment)) continue;
        const int64_t begin = asking.position + range->offset;
        const int64_t end = of.shape.window > 0 ? std::min(begin + range->count, last_position + of.shape.window)
                                                : begin + range->count;
        for (int64_t position = std::max(begin, keys.position); position < end; position += block_queries) {
          const int64_t query = range->row + position - begin;
          of.kernels.backward_add(keys,
                                  {.position = position,
                                   .queries = std::min(block_queries, end - position),
                                   .q = of.q.row(query) + head * head_dim,
                                   .dout = of.dout.row(query) + head * head_dim,
                                   .lse = of.lse.row(query) + head,
                                   .delta = of.delta.row(query) + head,
                                   .dq = of.dq.row(query) + head * head_dim,
                                   .q_stride = of.q.stride,
                                   .dout_stride = of.dout.stride,
                                   .lse_stride = of.lse.stride,
                                   .delta_stride = of.delta.stride,
                                   .dq_stride = of.dq.stride},
                                  scratch);
        }
      }
      of.kernels.backward_end(keys, scratch);
    }
  }
}

}  // namespace

size_t attention_workspace_floats(const OpsLimits& limits, int threads) {
  // A group may be all heads. Shared: the blocks of forward or the trees and deltas of backward.
  const int64_t forward = forward_thread_floats(limits.heads, limits.head_dim, limits.path_tokens);
  const int64_t backward = limits.training ? round_up(backward_scratch_floats(limits.heads, limits.head_dim), 16) : 0;
  const int64_t shared =
      std::max(block_list_floats(limits.rows),
               limits.training ? round_up(limits.rows, 16) + round_up(limits.rows * limits.heads, 16) : 0);
  return static_cast<size_t>(shared + threads * std::max(forward, backward));
}

void attention_forward(ThreadPool& pool, Isa isa, const Forest& forest, std::span<const QueryRange> queries,
                       const AttentionShape& shape, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                       float* workspace) {
  const AttentionKernels& kernels = attention_kernels(isa);
  const int64_t group = shape.heads / shape.kv_heads, head_dim = shape.head_dim;
  BlockList blocks(workspace);
  int64_t path = 0, scores = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    const QueryRange& range = queries[i];
    const int64_t end = forest.segments[static_cast<size_t>(range.segment)].position + range.offset + range.count;
    path = std::max(path, end);
    scores += range.count * end;
    blocks.add(static_cast<int32_t>(i), range.count, group, end);
  }
  const int64_t thread_floats = forward_thread_floats(group, head_dim, path);
  float* scratches = workspace + block_list_floats(q.rows);
  run_chunks(pool, blocks.size() * shape.kv_heads, scores * shape.heads * head_dim, [&](int64_t chunk, int worker) {
    const Block& block = blocks[chunk / shape.kv_heads];
    const int64_t kv_head = chunk % shape.kv_heads, head = kv_head * group;
    const QueryRange& range = queries[static_cast<size_t>(block.range)];
    const int64_t row = range.row + block.first;
    const int64_t position = forest.segments[static_cast<size_t>(range.segment)].position + range.offset + block.first;
    const int64_t base = path_base(position, shape.window);
    float* scratch = scratches + worker * thread_floats;
    auto* key_rows = reinterpret_cast<int32_t*>(scratch);
    path_rows(forest, range.segment, base, position + block.queries, key_rows);
    kernels.forward_block({.k = k.row(0) + kv_head * head_dim,
                           .v = v.row(0) + kv_head * head_dim,
                           .k_stride = k.stride,
                           .v_stride = v.stride,
                           .key_rows = key_rows,
                           .base = base,
                           .position = position,
                           .queries = block.queries,
                           .group = group,
                           .head_dim = head_dim,
                           .window = shape.window,
                           .scale = shape.scale,
                           .q = q.row(row) + head * head_dim,
                           .q_stride = q.stride,
                           .out = out.row(row) + head * head_dim,
                           .out_stride = out.stride,
                           .lse = lse ? lse.row(row) + head : nullptr,
                           .lse_stride = lse.stride},
                          scratch + path_list_floats(path));
  });
}

void attention_backward(ThreadPool& pool, Isa isa, const Forest& forest, std::span<const QueryRange> queries,
                        const AttentionShape& shape, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                        Tensor dq, Tensor dk, Tensor dv, float* workspace) {
  assert(std::is_sorted(queries.begin(), queries.end(),
                        [](const QueryRange& a, const QueryRange& b) { return a.segment < b.segment; }));
  const AttentionKernels& kernels = attention_kernels(isa);
  const int64_t rows = q.rows, head_dim = shape.head_dim;
  auto* roots = reinterpret_cast<int32_t*>(workspace);
  int64_t num_roots = 0;
  for (size_t s = 0; s < forest.segments.size(); ++s) {
    if (forest.segments[s].parent < 0) roots[num_roots++] = static_cast<int32_t>(s);
  }
  float* deltas = workspace + round_up(forest.tokens, 16);
  const Tensor delta = Tensor::f32(deltas, rows, shape.heads);
  float* scratches = deltas + round_up(rows * shape.heads, 16);
  const int64_t thread_floats = round_up(backward_scratch_floats(shape.heads / shape.kv_heads, head_dim), 16);

  const int64_t slice = 64;
  run_chunks(pool, (rows + slice - 1) / slice, rows * shape.heads * head_dim, [&](int64_t chunk, int) {
    for (int64_t row = chunk * slice; row < std::min(rows, (chunk + 1) * slice); ++row) {
      for (int64_t head = 0; head < shape.heads; ++head) {
        delta.row(row)[head] = kernels.dot(dout.row(row) + head * head_dim, out.row(row) + head * head_dim, head_dim);
      }
      std::fill(dq.row(row), dq.row(row) + shape.heads * head_dim, 0.0f);
    }
  });
  const Gradients gradients{forest, queries, shape, kernels, dout, q, k, v, lse, delta, dq, dk, dv};
  run_chunks(pool, num_roots * shape.kv_heads, forest.tokens * shape.heads * head_dim * 64,
             [&](int64_t chunk, int worker) {
               backward_tree(gradients, roots[chunk / shape.kv_heads], chunk % shape.kv_heads,
                             scratches + worker * thread_floats);
             });
}

}  // namespace gleaner::cpu
