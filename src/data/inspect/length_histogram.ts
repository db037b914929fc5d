// Lengths of rows, counted one by one: percentiles are exact, and memory depends on the longest row alone.

export interface HistogramSummary {
  rows: number;
  mean: number;
  /** By name: p1, p50, … */
  percentiles: Record<string, number>;
  longest: number;
  /** [from, to) and the rows in it. */
  bins: [from: number, to: number, rows: number][];
}

const shownPercentiles = [1, 5, 25, 50, 75, 90, 95, 99] as const;
const mostBins = 20;

export class LengthHistogram {
  /** Rows of each length. */
  #counts = new Uint32Array(256);
  #rows = 0;
  #sum = 0;
  #longest = 0;

  get sum(): number {
    return this.#sum;
  }

  add(length: number, rows = 1): void {
    if (length >= this.#counts.length) {
      const grown = new Uint32Array(Math.max(length + 1, 2 * this.#counts.length));
      grown.set(this.#counts);
      this.#counts = grown;
    }
    this.#counts[length] = (this.#counts[length] ?? 0) + rows;
    this.#rows += rows;
    this.#sum += rows * length;
    this.#longest = Math.max(this.#longest, length);
  }

  /** Lengths and the rows that have them, as `from` takes them back. */
  entries(): [length: number, rows: number][] {
    const entries: [number, number][] = [];
    for (let length = 0; length <= this.#longest; ++length) {
      const rows = this.#counts[length] ?? 0;
      if (rows > 0) entries.push([length, rows]);
    }
    return entries;
  }

  static from(entries: Iterable<readonly [length: number, rows: number]>): LengthHistogram {
    const histogram = new LengthHistogram();
    for (const [length, rows] of entries) histogram.add(length, rows);
    return histogram;
  }

  summary(): HistogramSummary {
    const width = binWidth(this.#longest);
    const bins: HistogramSummary['bins'] = [];
    for (const [length, rows] of this.entries()) {
      const from = Math.floor(length / width) * width;
      const last = bins.at(-1);
      if (last !== undefined && last[0] === from) last[2] += rows;
      else bins.push([from, from + width, rows]);
    }
    return {
      rows: this.#rows,
      mean: this.#rows === 0 ? 0 : Number((this.#sum / this.#rows).toFixed(3)),
      percentiles: Object.fromEntries(shownPercentiles.map((percent) => [`p${percent}`, this.percentile(percent)])),
      longest: this.#longest,
      bins,
    };
  }

  /** The smallest length that so many percent of the rows do not go over. */
  percentile(percent: number): number {
    const wanted = Math.ceil((this.#rows * percent) / 100);
    let seen = 0;
    for (const [length, rows] of this.entries()) {
      seen += rows;
      if (seen >= wanted) return length;
    }
    return 0;
  }
}

/** 1, 2 or 5 times a power of ten, so that about mostBins bins hold all. */
function binWidth(longest: number): number {
  for (let power = 1; ; power *= 10) {
    for (const factor of [1, 2, 5]) if ((longest + 1) / (factor * power) <= mostBins) return factor * power;
  }
}
