// Runs as a process of its own, whose files may be limited in size: saves everything over what an earlier process saved, and says what came
// of it.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../../src/engine/engine.js';
import { goldenModel } from '../golden/golden.js';
import { digest, outcome, pair, rows, sft, step, training } from './commands.js';

const place = process.argv[2] ?? '';
const say = (line: string) => process.stdout.write(`${line}\n`);
/** Every file below, with its content. */
const content = () =>
  digest(
    readdirSync(place, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => [name, statSync(join(place, name)).isFile() ? readFileSync(join(place, name), 'hex') : '']),
  );

await using engine = await Engine.load(goldenModel('llama-gqa'), { threads: 2 });
await engine.prepareTraining(training);
await engine.update(sft, step);
await engine.markRound();
await engine.update(pair, step);
const before = content();
const scores = digest(await engine.score(rows));
const works: [string, () => Promise<unknown>][] = [
  ['save', () => engine.save(join(place, 'model'))],
  ['saveTrainingState', () => engine.saveTrainingState(join(place, 'state'), { weights: true })],
  ['saveRoundWeights', () => engine.saveRoundWeights(join(place, 'round'))],
];
for (const [name, work] of works) {
  const found = await outcome(name, work);
  say(`${name}: ${found.startsWith('ERR_') ? found : 'done'}`);
}
if (content() === before) say('the same bytes');
if (digest(await engine.score(rows)) === scores && !(await engine.update(sft, step)).skipped) say('the same engine');
