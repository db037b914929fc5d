// Event files against what TensorBoard's own writer made of the same records (test/golden/make/events.py), and against TensorBoard itself.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PbfReader } from 'pbf';
import { z } from 'zod';
import { EventFile } from '../../src/output/tensorboard.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const golden = fileURLToPath(new URL('../golden/events.tfevents', import.meta.url));
const script = fileURLToPath(new URL('../golden/make/events.py', import.meta.url));

/** As events.py has them. */
const records: { record: Record<string, number> & { step: number }; wall_time: number }[] = [
  { wall_time: 1700000000.25, record: { step: 0, 'eval/loss': 2.5, 'time/evaluation': 0.125 } },
  {
    wall_time: 1700000001.5,
    record: {
      step: 1,
      round: 0,
      loss: Math.LN2,
      'rewards/margins': -1e-7,
      grad_norm: Number.POSITIVE_INFINITY,
    },
  },
  { wall_time: 1700000002.75, record: { step: 300, loss: Number.NaN, 'verlust/β': 1e30 } },
  { wall_time: 1700000003, record: { step: 2 ** 40, num_tokens: 123456789 } },
];

interface Event {
  wall_time: number;
  step: number;
  version?: string;
  scalars: Record<string, number>;
}

/** Reads a file by the format's description, and checks every checksum, bit by bit. */
function eventsOf(file: Buffer): Event[] {
  const events: Event[] = [];
  for (let place = 0; place < file.length; ) {
    const length = Number(file.readBigUInt64LE(place));
    assert.equal(file.readUInt32LE(place + 8), checksum(file.subarray(place, place + 8)));
    const data = file.subarray(place + 12, place + 12 + length);
    assert.equal(file.readUInt32LE(place + 12 + length), checksum(data));
    events.push(eventOf(data));
    place += length + 16;
  }
  return events;
}

function eventOf(data: Uint8Array): Event {
  const event: Event = { wall_time: 0, step: 0, scalars: {} };
  const reader = new PbfReader(data);
  reader.readFields((tag) => {
    if (tag === 1) event.wall_time = reader.readDouble();
    else if (tag === 2) event.step = reader.readVarint(true);
    else if (tag === 3) event.version = reader.readString();
    else if (tag === 5) reader.readMessage((field) => field === 1 && readScalar(reader, event.scalars), undefined);
  }, undefined);
  return event;
}

function readScalar(reader: PbfReader, scalars: Record<string, number>): void {
  let name = '';
  reader.readMessage((field) => {
    if (field === 1) name = reader.readString();
    else if (field === 2) scalars[name] = reader.readFloat();
  }, undefined);
}

function checksum(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; ++bit) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  crc = ~crc >>> 0;
  return Number((BigInt(((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8n) & 0xffffffffn);
}

async function writeAll(path: string): Promise<void> {
  await using file = await EventFile.open(path);
  for (const { record, wall_time } of records) await file.append(record, wall_time);
}

suite('event files', (test) => {
  test('hold the bytes that TensorBoard’s own writer writes', async () => {
    const path = join(temporaryFolder(), 'new', 'events.out.tfevents.1700000000.gleaner');
    await writeAll(path);
    const [found, wanted] = [readFileSync(path), readFileSync(golden)];
    assert.equal(found.length, wanted.length);
    const first = 12 + Number(wanted.readBigUInt64LE()) + 4; // the version's record has the time of the writing
    assert.deepEqual(found.subarray(first), wanted.subarray(first));
    const [version, ...events] = eventsOf(found);
    assert.equal(version?.version, 'brain.Event:2');
    assert.ok(Math.abs((version?.wall_time ?? 0) - Date.now() / 1000) < 60);
    assert.deepEqual(events, eventsOf(wanted).slice(1));
    assert.deepEqual(events[1], {
      wall_time: 1700000001.5,
      step: 1,
      scalars: { round: 0, loss: Math.fround(Math.LN2), 'rewards/margins': Math.fround(-1e-7), grad_norm: Infinity },
    });
  });

  test('a resumed run goes on where its checkpoint was', async () => {
    const path = join(temporaryFolder(), 'events');
    let bytes = 0;
    {
      await using file = await EventFile.open(path);
      for (const step of [1, 2]) await file.append({ step, loss: step });
      ({ bytes } = file);
      for (const step of [3, 4]) await file.append({ step, loss: step });
    }
    {
      await using file = await EventFile.open(path, { bytes });
      assert.equal(file.bytes, bytes);
      await file.append({ step: 3, loss: 30 });
      assert.equal(file.bytes, readFileSync(path).length);
    }
    const read = () =>
      eventsOf(readFileSync(path)).flatMap(({ step, scalars }) => ('loss' in scalars ? [[step, scalars.loss]] : []));
    assert.deepEqual(read(), [
      [1, 1],
      [2, 2],
      [3, 30],
    ]);
    // Shorter than the checkpoint knew it: what is whole stays.
    truncateSync(path, bytes - 3);
    {
      await using file = await EventFile.open(path, { bytes });
      await file.append({ step: 9, loss: 9 });
    }
    assert.deepEqual(read(), [
      [1, 1],
      [9, 9],
    ]);
    // Gone, or no event file at all: a new one.
    writeFileSync(path, 'no records');
    {
      await using file = await EventFile.open(path, { bytes });
      await file.append({ step: 9, loss: 9 });
    }
    assert.deepEqual(read(), [[9, 9]]);
    appendFileSync(path, 'half a record');
    await (await EventFile.open(path)).close();
    assert.deepEqual(read(), []);
  });

  test('a place that cannot be written is named', async () => {
    await assertRejects(() => EventFile.open('/proc/nowhere/events'), 'ERR_GLEANER_DISK', /\/proc\/nowhere\/events/);
    await assertRejects(() => EventFile.open(temporaryFolder()), 'ERR_GLEANER_DISK', /cannot be written/);
  });

  // GLEANER_PYTHON names a python with the pinned tensorboard.
  const python = process.env.GLEANER_PYTHON;
  if (!python) test.skip('TensorBoard reads them', 'GLEANER_PYTHON is not set');
  else
    test('TensorBoard reads them', async () => {
      const folder = temporaryFolder();
      await writeAll(join(folder, 'events.out.tfevents.1700000000.gleaner'));
      const { stdout } = await promisify(execFile)(python, [script, '--read', folder]);
      const shape = z.record(z.string(), z.array(z.tuple([z.number(), z.number(), z.number().nullable()])));
      const read = shape.parse(JSON.parse(stdout.replace(/\b(NaN|-?Infinity)\b/g, 'null')));
      const wanted: z.infer<typeof shape> = {};
      for (const { record, wall_time } of records) {
        for (const [tag, value] of Object.entries(record)) {
          const row: [number, number, number | null] = [
            record.step,
            wall_time,
            Number.isFinite(value) ? Math.fround(value) : null,
          ];
          if (tag !== 'step') wanted[tag] = [...(wanted[tag] ?? []), row];
        }
      }
      assert.deepEqual(read, wanted);
    });
});
