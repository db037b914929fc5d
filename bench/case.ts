// What a case of the bench is: the same work for gleaner and for each of its peers, round by round; or a curve; or single figures.

import type { ModelName } from './model.js';

/** What every side must agree on. A list is compared number by number. */
export type Checks = Readonly<Record<string, number | readonly number[]>>;

/** One side's answer to one round. */
export interface Answer {
  seconds: number;
  cpu_seconds: number;
  checks: Checks;
  /** Tokens that this side computed, padding included. */
  tokens: number;
}

/** What a round asks for, counted once for all sides: no padding, a shared prompt once. */
export interface Work {
  tokens: number;
  /** Of the arithmetic that cannot be left out (causal attention counted half, the head on target tokens only): a share of the multiply-add peak. */
  flops?: number;
  /** That must be read from memory: a share of the read bandwidth. */
  bytes?: number;
  /** Whatever else is counted per second: requests, pairs, rows. */
  items?: number;
}

/** A process that does the same work: it stays alive and warm through a case's rounds, and sleeps on its pipe in between. */
export interface PeerSpec {
  name: string;
  /** python: --python's interpreter. node: this node, TypeScript allowed. */
  runtime: 'python' | 'node';
  /** In bench/peers. */
  script: string;
  /** Told when it loads, over what Ours.peerLoad says. */
  settings: Readonly<Record<string, unknown>>;
  /** Thread counts that it runs at. Default: its case's. */
  threads?: readonly number[];
  /** false: left out under --quick. */
  quick?: false;
}

/** What a peer is told when it loads, beside its own settings. */
export interface PeerLoad {
  model: string;
  threads: number;
  settings: Readonly<Record<string, unknown>>;
}

/** Gleaner's side: loaded, warm, answering one round at a time. */
export interface Ours extends AsyncDisposable {
  work(round: number): Work;
  run(round: number): Promise<Answer>;
  readonly peerLoad: PeerLoad;
  /** A round's rows for the peers: any JSON value. */
  peerRows(round: number): unknown;
}

export interface OpenOptions {
  threads: number;
  /** How many rounds will be asked for, warm-up included: their rows are made before the clock runs. */
  rounds: number;
  /** An empty folder of this row's own. */
  folder: string;
  quick: boolean;
  /** The folder of a model with random weights, made once a run. */
  model(name: ModelName): Promise<string>;
}

/** What the engine is meant to reach; a figure below it is printed as missed, never hidden. */
export interface Goals {
  /** By peer's name: peer's time over ours. */
  ratio?: Readonly<Record<string, number>>;
  /** 0–1. */
  share_of_peak?: number;
  share_of_bandwidth?: number;
}

interface Described {
  /** Unique; what --only takes. */
  name: string;
  /** Cases that one --only takes together, and one table of the documentation. */
  group: string;
  about: string;
  /** Thread counts that it runs at, of those asked for. Default: all. */
  threads?: readonly number[];
  /** Runs under --quick. */
  quick?: boolean;
}

export interface Case extends Described {
  kind: 'rounds';
  peers: readonly PeerSpec[];
  /** |ours − peer| / max(1, |peer|) by check. A key is compared with every peer that answers it; a peer must answer one at least. */
  tolerances: Readonly<Record<string, number>>;
  goals?: Goals;
  /** The instructions that the share of peak is of. Default fp32. */
  precision?: 'fp32' | 'bf16';
  /** Rounds stop early beyond this, but not below 3. Default: 75. */
  budget_seconds?: number;
  open(options: OpenOptions): Promise<Ours>;
}

export interface CurvePoint {
  x: number;
  /** Median of the repeats, with their ends. */
  y: number;
  min: number;
  max: number;
  /** Where the line should run, from arithmetic or bandwidth alone. */
  expected?: number;
}

export interface CurveLine {
  name: string;
  points: readonly CurvePoint[];
}

export interface CurveOptions extends OpenOptions {
  /** The machine's limits now: GFLOP/s of multiply-adds, GB/s read. undefined: not measured here. */
  limits(): Promise<Limits>;
}

/** How a cost grows: points of one or more lines, drawn as a plot with the expected curve. */
export interface CurveCase extends Described {
  kind: 'curve';
  x: { label: string; log?: boolean };
  y: { label: string; log?: boolean };
  measure(options: CurveOptions): Promise<readonly CurveLine[]>;
}

/** A number that is not time of rounds: bytes of memory, size on disk. Smaller is better. */
export interface Figure {
  name: string;
  unit: 'bytes' | 'seconds';
  ours: number;
  peers: Readonly<Record<string, number>>;
  at_most?: number;
}

export interface FiguresOptions extends OpenOptions {
  /** Absent: no peers. */
  python: string | undefined;
  rounds: number;
}

export interface FiguresCase extends Described {
  kind: 'figures';
  measure(options: FiguresOptions): Promise<readonly Figure[]>;
}

export type AnyCase = Case | CurveCase | FiguresCase;

/** The machine's limits, measured beside the work. */
export interface Limits {
  gflops?: number;
  bf16_gflops?: number;
  read_gb_per_s?: number;
}
