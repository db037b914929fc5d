// Attention over a paged cache: the same kernels as over a forest, with the path read from a page table.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "ops/cpu/attention.h"
#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/attention_schedule.h"

namespace gleaner::cpu {

namespace {

/// rows[i] = slot of position base + i, for positions [base, end).
void page_rows(std::span<const int32_t> pages, int64_t page_size, int64_t base, int64_t end, int32_t* rows) {
  for (int64_t position = base; position < end;) {
    const int64_t page = position / page_size, stop = std::min(end, (page + 1) * page_size);
    const int64_t shift = pages[static_cast<size_t>(page)] * page_size - page * page_size;
    for (; position < stop; ++position) rows[position - base] = static_cast<int32_t>(position + shift);
  }
}

}  // namespace

void cache_write(ThreadPool& pool, Tensor k, Tensor v, std::span<const int64_t> slots, Tensor cache_k, Tensor cache_v) {
  assert(k.rows == static_cast<int64_t>(slots.size()) && v.rows == k.rows);
  const auto bytes = static_cast<size_t>(k.cols) * sizeof(float);
  const int64_t slice = 64;
  run_chunks(pool, (k.rows + slice - 1) / slice, k.rows * k.cols, [&](int64_t chunk, int) {
    for (int64_t row = chunk * slice; row < std::min(k.rows, (chunk + 1) * slice); ++row) {
      const int64_t slot = slots[static_cast<size_t>(row)];
      std::memcpy(cache_k.row(slot), k.row(row), bytes);
      std::memcpy(cache_v.row(slot), v.row(row), bytes);
    }
  });
}

void attention_cached(ThreadPool& pool, Isa isa, std::span<const CachedQuery> queries, int64_t page_size,
                      const AttentionShape& shape, Tensor q, Tensor cache_k, Tensor cache_v, Tensor out,
                      float* workspace) {
  const AttentionKernels& kernels = attention_kernels(isa);
  const int64_t group = shape.heads / shape.kv_heads, head_dim = shape.head_dim;
  BlockList blocks(workspace);
  int64_t path = 0, scores = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    const int64_t end = queries[i].position + queries[i].count;
    path = std::max(path, end);
    scores += queries[i].count * end;
    blocks.add(static_cast<int32_t>(i), queries[i].count, group, end);
  }
  // One new row a sequence: a chunk takes all its heads, so that the cache's rows are read through, not in strips.
  const bool decode = q.rows == static_cast<int64_t>(queries.size());
  const int64_t together = decode && blocks.size() >= 2 * pool.threads() ? shape.kv_heads : 1;
  const int64_t strips = shape.kv_heads / together;
  const int64_t thread_floats = forward_thread_floats(group * together, head_dim, path);
  float* scratches = workspace + block_list_floats(q.rows);
  run_chunks(pool, blocks.size() * strips, scores * shape.heads * head_dim, [&](int64_t chunk, int worker) {
    const Block& block = blocks[chunk / strips];
    const int64_t kv_head = chunk % strips * together, head = kv_head * group;
    const CachedQuery& query = queries[static_cast<size_t>(block.range)];
    const int64_t row = query.row + block.first, position = query.position + block.first;
    const int64_t base = path_base(position, shape.window);
    float* scratch = scratches + worker * thread_floats;
    auto* key_rows = reinterpret_cast<int32_t*>(scratch);
    // Pages before the window may be gone; the kernel does not read their rows.
    const int64_t seen = shape.window > 0 ? std::max(base, position - shape.window + 1) : base;
    page_rows(query.pages, page_size, seen, position + block.queries, key_rows + (seen - base));
    kernels.forward_block({.k = cache_k.row(0) + kv_head * head_dim,
                           .v = cache_v.row(0) + kv_head * head_dim,
                           .k_stride = cache_k.stride,
                           .v_stride = cache_v.stride,
                           .key_rows = key_rows,
                           .base = base,
                           .position = position,
                           .queries = block.queries,
                           .kv_heads = together,
                           .group = group,
                           .head_dim = head_dim,
                           .window = shape.window,
                           .scale = shape.scale,
                           .q = q.row(row) + head * head_dim,
                           .q_stride = q.stride,
                           .out = out.row(row) + head * head_dim,
                           .out_stride = out.stride},
                          scratch + path_list_floats(path));
  });
}

}  // namespace gleaner::cpu
