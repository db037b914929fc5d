// Damage to files for property tests: bits, cuts, inserted bytes, and for JSON values edited, removed and put in another's place.

import fc from 'fast-check';
import { withHeader } from '../models/tiny_folder.js';
import { place } from '../support/damage.js';

export type Mutation =
  | { kind: 'flip'; file: number; at: number; bit: number }
  | { kind: 'cut'; file: number; at: number }
  | { kind: 'insert'; file: number; at: number; bytes: Uint8Array }
  | { kind: 'edit'; file: number; at: number; value: unknown }
  | { kind: 'remove'; file: number; at: number }
  | { kind: 'copy'; file: number; at: number; to: number };

const file = fc.nat(7);
const deep = JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`);
export const strange = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    0.5,
    1,
    2,
    3,
    7,
    1e3,
    1e9,
    2 ** 31,
    2 ** 53,
    1e308,
    -1e308,
    '',
    'x',
    '../x.safetensors',
    '__proto__',
    [],
    {},
    [0],
    [[]],
    { a: 1 },
    deep,
  ),
  fc.integer(),
  fc.double(),
  fc.string(),
  fc.constantFrom(
    'linear',
    'llama3',
    'yarn',
    'float16',
    'F16',
    'BF16',
    'F64',
    'BOOL',
    'gelu',
    'LlamaForCausalLM',
    'mistral',
    'constructor',
    'Sequence',
    'BPE',
    'ByteLevel',
    'Metaspace',
    '<0x0A>',
    '{{ messages }}',
    '(a+)+$',
    '\ud800',
  ),
);
export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), file, at: place, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('cut' as const), file, at: place }),
  fc.record({
    kind: fc.constant('insert' as const),
    file,
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
  }),
  { arbitrary: fc.record({ kind: fc.constant('edit' as const), file, at: place, value: strange }), weight: 3 },
  fc.record({ kind: fc.constant('remove' as const), file, at: place }),
  fc.record({ kind: fc.constant('copy' as const), file, at: place, to: place }),
);

/** The JSON of a file and what follows it; only this part is damaged. */
function split(name: string, content: Buffer): { json: Buffer; data: Buffer; header: boolean } {
  if (!name.endsWith('.safetensors')) return { json: content, data: Buffer.alloc(0), header: false };
  const end = 8 + Number(content.readBigUInt64LE(0));
  return { json: content.subarray(8, end), data: content.subarray(end), header: true };
}

/** Every (holder, key) of a JSON value. */
export function places(value: unknown): [Record<string, unknown>, string][] {
  if (typeof value !== 'object' || value === null) return [];
  const holder: Record<string, unknown> = Object.assign(value);
  return Object.entries(holder).flatMap(([key, inner]): [Record<string, unknown>, string][] => [
    [holder, key],
    ...places(inner),
  ]);
}

export function mutate(name: string, content: Buffer, change: Mutation): Uint8Array {
  const { json, data, header } = split(name, content);
  switch (change.kind) {
    case 'flip': {
      const bytes = Buffer.from(content);
      const at = Math.floor(change.at * (content.length - data.length));
      bytes[at] = (bytes[at] ?? 0) ^ (1 << change.bit);
      return bytes;
    }
    case 'cut':
      return content.subarray(0, Math.floor(change.at * content.length));
    case 'insert': {
      const at = Math.floor(change.at * (content.length - data.length));
      return Buffer.concat([content.subarray(0, at), change.bytes, content.subarray(at)]);
    }
    case 'edit':
    case 'remove':
    case 'copy': {
      const value: unknown = JSON.parse(json.toString());
      const all = places(value);
      const [holder, key] = all[Math.floor(change.at * all.length)] ?? [];
      if (holder && key !== undefined) {
        if (change.kind === 'edit') holder[key] = change.value;
        else if (change.kind === 'remove') delete holder[key];
        else {
          const [other, otherKey] = all[Math.floor(change.to * all.length)] ?? [];
          if (other && otherKey !== undefined) holder[key] = structuredClone(other[otherKey]);
        }
      }
      return header ? withHeader(value, data) : Buffer.from(JSON.stringify(value));
    }
    default:
      return change satisfies never;
  }
}
