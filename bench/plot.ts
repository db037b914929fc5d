// Plots as plain SVG files: lines with their spread and the expected curve, or bars of ratios with their goals. Readable on light and dark pages.

export interface PlotLine {
  name: string;
  points: readonly { x: number; y: number; min: number; max: number; expected?: number }[];
}

export interface LinePlot {
  title: string;
  x: { label: string; log?: boolean };
  y: { label: string; log?: boolean };
  lines: readonly PlotLine[];
}

const [WIDTH, HEIGHT] = [720, 400];
const [LEFT, RIGHT, TOP, BOTTOM] = [70, 20, 40, 90];
/** Distinct to colour-blind readers as well, and by their marks. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const INK = '#777';

interface Axis {
  at(value: number): number;
  ticks: readonly number[];
}

function axis(values: readonly number[], from: number, to: number, log: boolean, zero: boolean): Axis {
  const positive = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  let [low, high] = [Math.min(...positive), Math.max(...positive)];
  if (positive.length === 0) [low, high] = [log ? 1 : 0, 10];
  if (zero && !log) low = Math.min(0, low);
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  if (log) {
    const [a, b] = [Math.log(low), Math.log(high)];
    const ticks: number[] = [];
    // Powers of two read well as lengths and batches; over a wide range, powers of ten.
    const base = b - a > Math.log(2 ** 8) ? 10 : 2;
    for (let power = Math.ceil(a / Math.log(base) - 1e-9); base ** power <= high * (1 + 1e-9); ++power)
      ticks.push(base ** power);
    return { at: (value) => from + ((Math.log(value) - a) / (b - a)) * (to - from), ticks };
  }
  const step = niceStep((high - low) / 5);
  const ticks: number[] = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(tick);
  return { at: (value) => from + ((value - low) / (high - low)) * (to - from), ticks };
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
}

export function linePlot({ title, x, y, lines }: LinePlot): string {
  const points = lines.flatMap((line) => line.points);
  const across = axis(
    points.map((point) => point.x),
    LEFT,
    WIDTH - RIGHT,
    x.log ?? false,
    false,
  );
  const up = axis(
    points.flatMap(({ min, max, expected }) => [min, max, ...(expected === undefined ? [] : [expected])]),
    HEIGHT - BOTTOM,
    TOP,
    y.log ?? false,
    true,
  );
  const path = (values: readonly (readonly [number, number])[]) =>
    values.map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${place(across.at(a))} ${place(up.at(b))}`).join(' ');
  const drawn = lines.map((line, i) => {
    const colour = COLOURS[i % COLOURS.length] ?? INK;
    const expected = line.points.flatMap((point) =>
      point.expected === undefined ? [] : [[point.x, point.expected] as const],
    );
    const marks = line.points.map((point) => {
      const [cx, low, high] = [across.at(point.x), up.at(point.min), up.at(point.max)].map(place);
      return `<path d="M${cx} ${low} V${high}" stroke="${colour}"/><circle cx="${cx}" cy="${place(up.at(point.y))}" r="3.5" fill="${colour}"/>`;
    });
    return [
      expected.length > 1
        ? `<path d="${path(expected)}" fill="none" stroke="${colour}" stroke-dasharray="5 4" opacity="0.8"/>`
        : '',
      `<path d="${path(line.points.map((point) => [point.x, point.y]))}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...marks,
      legend(i, line.name, colour),
    ].join('\n');
  });
  const dashed = points.some(({ expected }) => expected !== undefined) ? ' (dashed: expected)' : '';
  return svg(`${title}${dashed}`, [...grid(across, up), labels(x.label, y.label), ...drawn]);
}

export interface Bar {
  name: string;
  median: number;
  min: number;
  max: number;
  goal?: number;
}

/** Ratios on a logarithmic axis, 1 marked; a goal is a short line across its bar. */
export function barPlot(title: string, label: string, bars: readonly Bar[]): string {
  const row = 26;
  const height = TOP + 50 + bars.length * row;
  const left = 330;
  const values = bars.flatMap(({ min, max, goal }) => [min, max, ...(goal === undefined ? [] : [goal])]);
  const across = axis([1, ...values], left, WIDTH - RIGHT, true, false);
  const bottom = height - 50;
  const ticks = across.ticks.map(
    (tick) =>
      `<path d="M${place(across.at(tick))} ${TOP} V${bottom}" stroke="${INK}" opacity="${tick === 1 ? 0.9 : 0.25}"/>${text(across.at(tick), bottom + 16, number(tick), 'middle')}`,
  );
  const drawn = bars.map(({ name, median, min, max, goal }, i) => {
    const y = TOP + i * row + 5;
    const [one, end] = [across.at(1), across.at(median)];
    const middle = y + 8;
    const mark =
      goal === undefined
        ? ''
        : `<path d="M${place(across.at(goal))} ${y - 3} v22" stroke="${COLOURS[1]}" stroke-width="3"/>`;
    return `${text(left - 8, y + 12, name, 'end')}<rect x="${place(Math.min(one, end))}" y="${y}" width="${place(Math.abs(end - one))}" height="16" fill="${COLOURS[0]}" opacity="0.75"/><path d="M${place(across.at(min))} ${middle} H${place(across.at(max))}" stroke="${INK}" stroke-width="1.5"/>${mark}`;
  });
  return svg(title, [...ticks, ...drawn, text((left + WIDTH - RIGHT) / 2, height - 12, label, 'middle')], height);
}

function grid(across: Axis, up: Axis): string[] {
  return [
    ...across.ticks.map(
      (tick) =>
        `<path d="M${place(across.at(tick))} ${TOP} V${HEIGHT - BOTTOM}" stroke="${INK}" opacity="0.2"/>${text(across.at(tick), HEIGHT - BOTTOM + 16, number(tick), 'middle')}`,
    ),
    ...up.ticks.map(
      (tick) =>
        `<path d="M${LEFT} ${place(up.at(tick))} H${WIDTH - RIGHT}" stroke="${INK}" opacity="0.2"/>${text(LEFT - 6, up.at(tick) + 4, number(tick), 'end')}`,
    ),
  ];
}

function labels(x: string, y: string): string {
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  return `${text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, x, 'middle')}<text x="16" y="${middle}" fill="${INK}" text-anchor="middle" transform="rotate(-90 16 ${middle})">${escaped(y)}</text>`;
}

function legend(at: number, name: string, colour: string): string {
  const [x, y] = [LEFT + (at % 3) * 215, HEIGHT - 28 + Math.floor(at / 3) * 18];
  return `<circle cx="${x}" cy="${y - 4}" r="4" fill="${colour}"/>${text(x + 9, y, name, 'start')}`;
}

function svg(title: string, parts: readonly string[], height = HEIGHT): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" role="img">
<title>${escaped(title)}</title>
<text x="${LEFT / 2}" y="22" font-size="15" fill="${INK}">${escaped(title)}</text>
${parts.join('\n')}
</svg>
`;
}

function text(x: number, y: number, value: string, anchor: string): string {
  return `<text x="${place(x)}" y="${place(y)}" fill="${INK}" text-anchor="${anchor}">${escaped(value)}</text>`;
}

function place(value: number): number {
  return Math.round(value * 10) / 10;
}

function number(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function escaped(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
