// A long curve in few points: each bin keeps its lowest and its highest value where they lie, so that no spike is lost, and its mean, so that
// what is smoothed on the page is the curve and not its edges.

export interface Curve {
  steps: number[];
  /** null: not a finite number. */
  values: (number | null)[];
}

export interface Line {
  x: number[];
  y: (number | null)[];
  /** Of a curve that was too long: the middle of each bin, and its mean. */
  mean?: { x: number[]; y: number[] };
}

/** At most 3 · bins points; a curve of 2 · bins points or fewer is left as it is. */
export function downsample({ steps, values }: Curve, bins = 600): Line {
  if (steps.length <= 2 * bins) return { x: steps, y: values.map(rounded) };
  const line: Line = { x: [], y: [] };
  const mean: { x: number[]; y: number[] } = { x: [], y: [] };
  for (let bin = 0; bin < bins; ++bin) {
    const [begin, end] = [bin, bin + 1].map((edge) => Math.floor((edge * steps.length) / bins));
    addBin(begin ?? 0, end ?? 0);
  }
  return { ...line, mean };

  function addBin(begin: number, end: number): void {
    let [low, high, gap] = [-1, -1, -1];
    const ends = [begin === 0 ? 0 : -1, end === steps.length ? end - 1 : -1]; // the curve's
    let [sum, finite] = [0, 0];
    const at = (place: number) => values[place] ?? 0;
    for (let place = begin; place < end; ++place) {
      const value = values[place];
      if (value === null || value === undefined) {
        gap = place;
        continue;
      }
      sum += value;
      finite += 1;
      if (low < 0 || value < at(low)) low = place;
      if (high < 0 || value > at(high)) high = place;
    }
    // Steps stay in order; a bin with a gap keeps one, so that it is seen.
    for (const place of [...new Set([low, high, gap, ...ends])].filter((found) => found >= 0).sort((a, b) => a - b)) {
      line.x.push(steps[place] ?? 0);
      line.y.push(rounded(values[place] ?? null));
    }
    if (finite === 0) return;
    mean.x.push(((steps[begin] ?? 0) + (steps[end - 1] ?? 0)) / 2);
    mean.y.push(rounded(sum / finite) ?? 0);
  }
}

/** Six significant digits: what a plot can show. */
function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(6));
}
