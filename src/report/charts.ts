// Which metrics are drawn, together with what, under which words. A key that no line here knows gets a chart of its own at the end.

import { downsample, type Line } from './downsample.js';
import type { RunData } from './read.js';

export type Group = 'training' | 'evaluation' | 'speed' | 'more';

export interface ChartLine extends Line {
  /** Place of its run in the report. */
  run: number;
  key: string;
  /** What the legend calls it. */
  label: string;
  /** Place among the chart's keys. */
  slot: number;
}

/** What the page's script draws. */
export interface Chart {
  title: string;
  note: string;
  group: Group;
  lines: ChartLine[];
  /** Fixed ends of the y axis. */
  range: [number, number] | null;
  /** The y axis begins at 0. */
  zero: boolean;
  /** A logarithmic axis may be chosen. */
  log: boolean;
  /** What is drawn is noisy: it may be smoothed. */
  smooth: boolean;
  description: string;
}

interface Kind {
  title: string;
  note: string;
  group: Group;
  /** Key → what the legend calls it. */
  keys: Readonly<Record<string, string>>;
  range?: [number, number];
  zero?: true;
  log?: true;
  smooth?: false;
}

const kinds: readonly Kind[] = [
  {
    title: 'Loss',
    note: 'What training minimises, mean of a step',
    group: 'training',
    keys: { loss: 'loss' },
    log: true,
  },
  {
    title: 'Rewards',
    note: 'β·log(π/π_ref) of demonstrations and of what the model wrote',
    group: 'training',
    keys: {
      'rewards/real': 'real',
      'rewards/generated': 'generated',
      'rewards/chosen': 'chosen',
      'rewards/rejected': 'rejected',
    },
  },
  {
    title: 'Reward margin',
    note: 'How far demonstrations are ahead of generated answers',
    group: 'training',
    keys: { 'rewards/margins': 'margin' },
  },
  {
    title: 'Accuracy',
    note: 'Share of pairs whose demonstration has the higher reward',
    group: 'training',
    keys: { 'rewards/accuracies': 'accuracy' },
    range: [0, 1],
  },
  {
    title: 'Log-probabilities',
    note: 'log π of a whole answer, mean of a step',
    group: 'training',
    keys: {
      'logps/real': 'real',
      'logps/generated': 'generated',
      'logps/chosen': 'chosen',
      'logps/rejected': 'rejected',
    },
  },
  {
    title: 'Gradient norm',
    note: 'Before clipping',
    group: 'training',
    keys: { grad_norm: 'norm' },
    log: true,
  },
  {
    title: 'Learning rate',
    note: 'As scheduled',
    group: 'training',
    keys: { learning_rate: 'rate' },
    zero: true,
    smooth: false,
  },
  {
    title: 'Held-out loss',
    note: 'Nats per token of held-out demonstrations',
    group: 'evaluation',
    keys: { 'eval/loss': 'loss' },
    log: true,
  },
  {
    title: 'Log-prob gap',
    note: 'log π of held-out demonstrations above what the model wrote before training',
    group: 'evaluation',
    keys: { 'eval/logp_gap': 'gap' },
  },
  {
    title: 'Reward of held-out answers',
    note: 'By the reward that the run was given',
    group: 'evaluation',
    keys: { 'eval/reward': 'reward' },
  },
  {
    title: 'Answer length',
    note: 'Tokens of answers to held-out prompts',
    group: 'evaluation',
    keys: { 'eval/response_tokens': 'tokens' },
    zero: true,
  },
  {
    title: 'Answers that end',
    note: 'Share of held-out answers that end by themselves',
    group: 'evaluation',
    keys: { 'eval/eos_rate': 'share' },
    range: [0, 1],
  },
  {
    title: 'Variety',
    note: 'Distinct token pairs among all of the answers',
    group: 'evaluation',
    keys: { 'eval/distinct_2': 'distinct-2' },
    range: [0, 1],
  },
  {
    title: 'Throughput',
    note: 'Tokens trained a second, while a step is computed',
    group: 'speed',
    keys: { tokens_per_second: 'tokens/s' },
    zero: true,
  },
];

/** Not worth a chart: counters, and what stands elsewhere in the report. */
const shownElsewhere = /^(round|epoch|num_tokens|skipped_steps|memory\/.*|time\/.*|pairs\/.*)$/;

export function chartsOf(runs: readonly RunData[]): Chart[] {
  const known = new Set(kinds.flatMap(({ keys }) => Object.keys(keys)));
  const others = [...new Set(runs.flatMap(({ metrics }) => [...metrics.curves.keys()]))]
    .filter((key) => !known.has(key) && !shownElsewhere.test(key))
    .sort();
  const more = others.map((key): Kind => ({ title: key, note: '', group: 'more', keys: { [key]: key }, log: true }));
  return [...kinds, ...more].map((kind) => chartOf(kind, runs)).filter(({ lines }) => lines.length > 0);
}

function chartOf({ title, note, group, keys, range, zero, log, smooth }: Kind, runs: readonly RunData[]): Chart {
  const several = runs.length > 1;
  const lines = runs.flatMap(({ name, metrics }, run) =>
    Object.entries(keys).flatMap(([key, label], slot): ChartLine[] => {
      const curve = metrics.curves.get(key);
      if (!curve?.values.some((value) => value !== null)) return [];
      const many = Object.keys(keys).length > 1;
      return [{ run, key, slot, label: several ? (many ? `${name} · ${label}` : name) : label, ...downsample(curve) }];
    }),
  );
  const values = lines.flatMap(({ y }) => y.filter((value) => value !== null));
  return {
    title,
    note,
    group,
    lines,
    range: range ?? null,
    zero: zero ?? false,
    smooth: smooth ?? group !== 'evaluation',
    log: (log ?? false) && values.length > 1 && values.every((value) => value > 0),
    description: `${title}: ${lines.map(describe).join('; ')}`,
  };
}

function describe({ label, x, y }: ChartLine): string {
  const points = x.flatMap((step, place) => {
    const value = y[place];
    return value === null || value === undefined ? [] : [{ step, value }];
  });
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return label;
  if (points.length === 1) return `${label} ${first.value} at step ${first.step}`;
  return `${label} from ${first.value} at step ${first.step} to ${last.value} at step ${last.step}`;
}
