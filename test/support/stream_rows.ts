// A pass over token files as training makes one, in a process of its own: how long it took, how much memory, how long was waited.

import { RowOrder } from '../../src/data/stream/order.js';
import { openTokenSource } from '../../src/data/stream/token_file.js';

const [folder = '', batch_size = '64', step_ms = '0', most = '1e9'] = process.argv.slice(2);
const size = Number(batch_size);
const rss = () => process.memoryUsage().rss;
const before = rss();
let peak = before;
const opened = performance.now();
const source = await openTokenSource([folder]);
const open_seconds = (performance.now() - opened) / 1000;
const order = new RowOrder({
  seed: 1,
  purpose: 'batches',
  stream: [0, 0],
  batch_rows: source.batch_rows,
  shuffle: true,
});
const started = performance.now();
const last = Math.min(order.length, Number(most));
let rows = 0;
let tokens = 0;
let ids = 0;
for (let begin = 0; begin < last; begin += size) {
  source.expect(order.slice(begin + size, begin + 5 * size));
  for (const row of await source.rows(order.slice(begin, begin + size))) {
    rows += 1;
    tokens += row.prompt_ids.length + row.response_ids.length;
    ids += Number(row.id.slice(4));
  }
  // The engine works meanwhile.
  if (Number(step_ms) > 0) await new Promise((resolve) => setTimeout(resolve, Number(step_ms)));
  if (begin % (64 * size) === 0) peak = Math.max(peak, rss());
}
const seconds = (performance.now() - started) / 1000;
peak = Math.max(peak, process.resourceUsage().maxRSS * 1024);
const { waited_seconds } = source;
await source.close();
process.stdout.write(
  JSON.stringify({ rows, tokens, ids, open_seconds, seconds, waited_seconds, grown_bytes: peak - before }),
);
