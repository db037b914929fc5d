// What a case of the bench is: the same work for gleaner and for its peer, round by round.

/** One side's answer to one round. `checks` are what both sides must agree on. */
export interface Answer {
  seconds: number;
  cpu_seconds: number;
  checks: { loss: number; grad_norm: number };
  /** Tokens that this side computed, padding included. */
  tokens: number;
}

/** What a round asks for, counted once for both sides: no padding, a shared prompt once. */
export interface Work {
  tokens: number;
  /** Of the arithmetic that cannot be left out; causal attention counted half, the head on target tokens only. */
  flops: number;
}

/** Gleaner's side: loaded, warm, answering one round at a time. */
export interface Ours extends AsyncDisposable {
  work(round: number): Work;
  run(round: number): Promise<Answer>;
  /** What the peer is told: once, and each round. */
  readonly peerLoad: PeerLoad;
  peerRows(round: number): readonly unknown[];
}

export interface PeerLoad {
  model: string;
  threads: number;
  training: Readonly<Record<string, unknown>>;
}

export interface OpenOptions {
  threads: number;
  /** How many rounds will be asked for: their rows are made before the clock runs. */
  rounds: number;
  /** An empty folder of this run's own. */
  folder: string;
}

export interface Case {
  name: string;
  about: string;
  /** What it is compared with, and its script in bench/peers. */
  peer: { name: string; script: string };
  open(options: OpenOptions): Promise<Ours>;
}
