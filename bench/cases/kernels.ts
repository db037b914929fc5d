// One kernel at a time, beside torch's: the products of training with their shapes, attention, the log-prob head.

import type { Case, PeerSpec } from '../case.js';
import { type Kernel, openKernel } from '../kernels.js';
import { type ModelName, shapes } from '../model.js';

/** A step's tokens, and the targets among them. */
const ROWS = 2048;
const TARGETS = 1024;

const peers: readonly PeerSpec[] = [{ name: 'torch', runtime: 'python', script: 'torch_kernels.py', settings: {} }];

function kernelCase(group: string, name: string, about: string, kernel: Kernel, more: Partial<Case> = {}): Case {
  return {
    kind: 'rounds',
    name,
    group,
    about,
    peers,
    tolerances: { total: 1e-4, samples: 1e-4 },
    open: ({ threads }) => openKernel(kernel, threads),
    ...more,
  };
}

/** Linear maps by name: rows, in, out. */
function maps(model: ModelName): [string, number, number, number][] {
  const { hidden, intermediate, vocab } = shapes[model];
  return [
    ['qkv', ROWS, hidden, 3 * hidden],
    ['attention-out', ROWS, hidden, hidden],
    ['mlp-up', ROWS, hidden, intermediate],
    ['mlp-down', ROWS, intermediate, hidden],
    ['head', TARGETS, hidden, vocab],
  ];
}

const gemm: readonly Case[] = (['70m', '160m'] as const).flatMap((model) =>
  maps(model).flatMap(([name, rows, inputs, outputs]) =>
    (['forward', 'dx', 'dweight'] as const).map((kind) =>
      kernelCase(
        'gemm',
        `gemm-${model}-${name}-${kind}`,
        `${kind} of the ${name} map of ${model}, ${rows} × ${inputs} × ${outputs}`,
        { kind, sizes: [rows, inputs, outputs], flops: 2 * rows * inputs * outputs, tokens: rows },
        {
          tolerances: { samples: 1e-5 },
          goals: { share_of_peak: 0.88 },
          quick: model === '70m' && name === 'mlp-up' && kind === 'dweight',
          budget_seconds: 30,
        },
      ),
    ),
  ),
);

/** Forward and backward: 4 FLOP a head unit and attended pair forward, twice that backward; half of all pairs are attended. */
const attention: readonly Case[] = (
  [
    [32, 64],
    [8, 256],
    [2, 1024],
    [1, 4096],
  ] as const
).map(([batch, tokens]) => {
  const [heads, head_dim] = [8, 64];
  return kernelCase(
    'attention',
    `attention-${tokens}`,
    `attention forward and backward, ${batch} × ${tokens} tokens, ${heads} heads of ${head_dim}, causal`,
    {
      kind: 'attention',
      sizes: [batch, tokens, heads, head_dim],
      flops: (12 * batch * heads * head_dim * tokens ** 2) / 2,
      tokens: batch * tokens,
    },
    { quick: tokens === 256 },
  );
});

const head: readonly Case[] = (['14m', '70m'] as const).flatMap((model) =>
  (['head', 'head_split'] as const).map((kind) => {
    const { hidden, vocab } = shapes[model];
    const how = kind === 'head' ? 'in one pass (SFT)' : 'one after the other (pairs)';
    return kernelCase(
      'head',
      `${kind.replace('_', '-')}-${model}`,
      `log-prob head forward and backward ${how}, ${TARGETS} targets × ${hidden} × ${vocab}`,
      { kind, sizes: [TARGETS, hidden, vocab], flops: 6 * TARGETS * hidden * vocab, tokens: TARGETS },
      { quick: model === '14m' && kind === 'head' },
    );
  }),
);

export const kernels: readonly Case[] = [...gemm, ...attention, ...head];
