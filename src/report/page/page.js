// The report's own script: curves with uPlot (a global of the script before this one), their controls, the theme.
// It runs in the browser as it stands; types are in comments and checked by tsconfig.json beside it.

/**
 * @typedef {{x: number[], y: (number | null)[], mean?: {x: number[], y: number[]}, run: number, key: string, label: string, slot: number}} Line
 * @typedef {{lines: Line[], range: [number, number] | null, zero: boolean, log: boolean, smooth: boolean}} Chart
 * @typedef {{runs: {name: string, rounds: {round: number, step: number}[]}[], charts: Chart[], steps: number}} PageData
 */

/** @type {PageData} */
const data = JSON.parse(document.getElementById('data')?.textContent ?? '');
const several = data.runs.length > 1;
/** Runs that are not drawn. @type {Set<number>} */
const hidden = new Set();
const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];
/** More borders than these would be a grey wall. */
const MOST_BORDERS = 40;

/** What is on the screen, to be redrawn together. @type {Plot[]} */
const plots = [];
let smoothing = 0;
const whole = { min: 0, max: data.steps };
/** The steps that are shown. */
let view = whole;
const reset = /** @type {HTMLButtonElement | null} */ (document.getElementById('reset'));

// ── numbers ──

/** A minus as wide as a plus. @param {string} text */
function minus(text) {
  return text.replace(/-/g, '−');
}

/** @param {number} value */
function short(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return power(value, 2);
  if (size >= 1e4) return minus(`${Number((value / 1000).toPrecision(3))}k`);
  return minus(String(Number(value.toPrecision(4))));
}

/** @param {number} value */
function exact(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return power(value, 3);
  return minus(size >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(4))));
}

/** @param {number} value @param {number} digits */
function power(value, digits) {
  return minus(value.toExponential(digits).replace(/\.?0*e\+?/, 'e'));
}

/** The ends of an axis: some air, no negative numbers for what has none. @param {number} low @param {number} high @param {boolean} zero @returns {[number, number]} */
function spaced(low, high, zero) {
  const air = (high - low || Math.abs(high) || 1) * 0.08;
  const least = low >= 0 ? Math.max(0, zero ? 0 : low - air) : low - air;
  return [least, zero && high <= 0 && low === high ? 1 : high + air];
}

/** Exponential moving average without the pull to zero at its start. @param {number[]} values @param {number} weight */
function smoothed(values, weight) {
  let [sum, total] = [0, 0];
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

// ── colours ──

/** The value of a custom property as a canvas takes it. @param {string} name */
function colour(name) {
  const found = colours.get(name);
  if (found !== undefined) return found;
  probe.style.color = `var(${name})`;
  const value = getComputedStyle(probe).color;
  colours.set(name, value);
  return value;
}
/** @type {Map<string, string>} */
const colours = new Map();
const probe = document.body.appendChild(document.createElement('i'));
probe.hidden = true;

/** Runs differ by colour where there are several, else a chart's keys do. @param {Line} line */
function styleOf(line) {
  const place = several ? line.run : line.slot;
  const dash = several ? line.slot + Math.floor(line.run / 8) : line.slot;
  return { color: `--series-${(place % 8) + 1}`, dash: DASHES[dash % DASHES.length] ?? [] };
}

// ── one chart ──

class Plot {
  /** @param {HTMLElement} figure @param {Chart} chart */
  constructor(figure, chart) {
    this.chart = chart;
    this.log = false;
    this.place = /** @type {HTMLElement} */ (figure.querySelector('.plot'));
    this.legend = /** @type {HTMLElement} */ (figure.querySelector('.legend'));
    /** @type {HTMLElement[]} */
    this.values = [];
    /** @type {HTMLElement[]} */
    this.entries = [];
    this.at = document.createElement('span');
    this.#buildLegend(figure);
    this.uplot = this.#create();
    this.showValues(null);
    new ResizeObserver(() => this.fit()).observe(this.place);
    this.place.addEventListener('keydown', (event) => this.#key(event));
    this.place.addEventListener('blur', () => this.uplot.setCursor({ left: -10, top: -10 }));
    const button = /** @type {HTMLButtonElement | null} */ (figure.querySelector('.log'));
    if (!button) return;
    button.hidden = false;
    button.title = 'Logarithmic axis';
    button.addEventListener('click', () => {
      this.log = !this.log;
      button.setAttribute('aria-pressed', String(this.log));
      this.rebuild();
    });
  }

  /** @param {HTMLElement} figure */
  #buildLegend(figure) {
    const svg = 'http://www.w3.org/2000/svg';
    this.at.className = 'at';
    for (const line of this.chart.lines) {
      const { color, dash } = styleOf(line);
      const entry = document.createElement('span');
      const sign = document.createElementNS(svg, 'svg');
      const stroke = document.createElementNS(svg, 'path');
      sign.setAttribute('aria-hidden', 'true');
      stroke.setAttribute('d', 'M0 3H20');
      stroke.setAttribute(
        'style',
        `stroke: var(${color}); stroke-width: 3; stroke-dasharray: ${dash.join(' ') || 'none'}`,
      );
      sign.append(stroke);
      const value = document.createElement('b');
      entry.append(sign, line.label, value);
      this.legend.append(entry);
      this.values.push(value);
      this.entries.push(entry);
    }
    figure.querySelector('h3')?.after(this.at);
  }

  /** For each line what was measured, then for each line what is smoothed. */
  #tables() {
    const positive = (/** @type {number | null} */ value) => (this.log && value !== null && value <= 0 ? null : value);
    const measured = this.chart.lines.map(({ x, y }) => [x, y.map(positive)]);
    const smooth = this.chart.lines.map((line) => {
      const { x, y } = line.mean ?? finite(line);
      return [x, smoothed(y, smoothing).map(positive)];
    });
    return uPlot.join(/** @type {uPlot.AlignedData[]} */ ([...measured, ...smooth]));
  }

  #create() {
    const { lines, range, zero } = this.chart;
    const axis = {
      stroke: () => colour('--ink-2'),
      grid: { stroke: () => colour('--grid'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    /** @type {uPlot.Series[]} */
    const series = [
      {},
      ...['measured', 'smooth'].flatMap((kind) =>
        lines.map((line) => {
          const { color, dash } = styleOf(line);
          return {
            label: line.label,
            stroke: () => colour(color),
            width: 1.75,
            dash,
            points: kind === 'smooth' ? { show: false } : { size: 6, fill: () => colour(color) },
          };
        }),
      ),
    ];
    const uplot = new uPlot(
      {
        width: this.place.clientWidth || 300,
        height: this.place.clientHeight || 210,
        padding: [12, 18, 0, 0],
        series,
        scales: {
          x: { time: false, auto: false, min: view.min, max: view.max },
          y: this.log ? { distr: 3 } : { range: (_, low, high) => range ?? spaced(low, high, zero) },
        },
        axes: [
          {
            ...axis,
            size: 34,
            gap: 9,
            space: 56,
            values: (_, splits) => nameOfSteps(splits),
          },
          {
            ...axis,
            size: widthOfLabels,
            space: 34,
            values: (_, splits) => splits.map((value) => (value === null ? '' : short(value))),
          },
        ],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: true, y: false },
          sync: { key: 'steps', scales: ['x', null] },
          points: { size: 8, width: 2 },
          dataIdx: nearest,
        },
        hooks: {
          drawAxes: [drawBorders],
          setCursor: [(u) => this.showValues(u.cursor.left !== undefined && u.cursor.left >= 0 ? u : null)],
          setScale: [(u, key) => key === 'x' && shown(u)],
        },
      },
      this.#tables(),
      this.place,
    );
    uplot.over.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'touch') uplot.setCursor({ left: event.offsetX, top: event.offsetY }, true);
    });
    this.#emphasise(uplot);
    return uplot;
  }

  /** What was measured steps back behind what is smoothed. @param {uPlot} uplot */
  #emphasise(uplot) {
    const count = this.chart.lines.length;
    for (const [place, line] of this.chart.lines.entries()) {
      const isSmooth = this.chart.smooth && smoothing > 0 && finite(line).x.length > 2;
      const shown = !hidden.has(line.run);
      const behind = uplot.series[place + 1];
      if (behind) behind.alpha = isSmooth ? 0.25 : 1;
      uplot.setSeries(place + 1, { show: shown }, false);
      uplot.setSeries(place + 1 + count, { show: shown && isSmooth }, false);
      this.entries[place]?.classList.toggle('off', !shown);
    }
  }

  rebuild() {
    this.uplot.destroy();
    this.uplot = this.#create();
    this.showValues(null);
  }

  /** After the smoothing or the choice of runs has changed. */
  update() {
    this.uplot.setData(this.#tables(), false);
    this.#emphasise(this.uplot);
    this.uplot.setScale('x', view);
    this.showValues(null);
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.place;
    if (width > 0 && (width !== this.uplot.width || height !== this.uplot.height))
      this.uplot.setSize({ width, height });
  }

  /** Values under the cursor, or the last ones. @param {uPlot | null} u */
  showValues(u) {
    let step;
    for (const [place, line] of this.chart.lines.entries()) {
      const index = u ? u.cursor.idxs?.[place + 1] : undefined;
      const value = u && typeof index === 'number' ? u.data[place + 1]?.[index] : u ? undefined : finite(line).y.at(-1);
      const element = this.values[place];
      if (element) element.textContent = typeof value === 'number' ? exact(value) : '';
      if (u && typeof index === 'number') step ??= u.data[0][index];
    }
    this.at.textContent = step === undefined ? '' : `step ${step.toLocaleString('en')}`;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const u = this.uplot;
    const steps = u.data[0];
    const now =
      u.cursor.left !== undefined && u.cursor.left >= 0 ? u.valToIdx(u.posToVal(u.cursor.left, 'x')) : undefined;
    const [low, high] = [u.scales.x?.min ?? 0, u.scales.x?.max ?? 1];
    const stride = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: (now ?? steps.length) - stride,
      ArrowRight: (now ?? -1) + stride,
      Home: 0,
      End: steps.length - 1,
    };
    if (event.key in moves) {
      const index = Math.max(0, Math.min(steps.length - 1, moves[/** @type {keyof moves} */ (event.key)]));
      u.setCursor({ left: u.valToPos(steps[index] ?? 0, 'x'), top: u.over.clientHeight / 2 }, true);
    } else if (event.key === '+' || event.key === '-') {
      const middle = now === undefined ? (low + high) / 2 : (steps[now] ?? 0);
      const half = ((high - low) / 2) * (event.key === '+' ? 0.5 : 2);
      zoom({ min: Math.max(whole.min, middle - half), max: Math.min(whole.max, middle + half) });
    } else if (event.key === 'Escape') {
      zoom(whole);
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** A line without its gaps. @param {Line} line */
function finite({ x, y }) {
  /** @type {{x: number[], y: number[]}} */
  const found = { x: [], y: [] };
  for (const [place, value] of y.entries()) {
    if (value === null) continue;
    found.x.push(x[place] ?? 0);
    found.y.push(value);
  }
  return found;
}

/** The point of a series that lies nearest: other series have points where this one has none. @param {uPlot} u @param {number} series @param {number} index */
function nearest(u, series, index) {
  const values = u.data[series];
  if (!values || series === 0) return index;
  for (let off = 0; off < values.length; ++off) {
    if (values[index - off] !== null && values[index - off] !== undefined) return index - off;
    if (values[index + off] !== null && values[index + off] !== undefined) return index + off;
  }
  return index;
}

/** The first one says what they count. @param {number[]} splits */
function nameOfSteps(splits) {
  return splits.map((step, place) => (Number.isInteger(step) ? `${place === 0 ? 'step ' : ''}${short(step)}` : ''));
}

/** @param {uPlot} u @param {string[] | null} values */
function widthOfLabels(u, values) {
  const longest = (values ?? []).reduce(
    (most, value) => (String(value).length > most.length ? String(value) : most),
    '',
  );
  u.ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  return Math.max(34, Math.ceil(u.ctx.measureText(longest).width / devicePixelRatio) + 14);
}

/** Where rounds begin, behind the curves. @param {uPlot} u */
function drawBorders(u) {
  const { ctx, bbox } = u;
  const same = new Set(data.runs.map(({ rounds }) => JSON.stringify(rounds))).size === 1;
  const runs = same ? data.runs.slice(0, 1) : data.runs;
  const borders = runs.flatMap(({ rounds }, run) =>
    rounds.length > 1 && !hidden.has(run) ? rounds.map((border) => ({ ...border, run })) : [],
  );
  if (borders.length > MOST_BORDERS) return;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'bottom';
  ctx.lineWidth = devicePixelRatio;
  let free = Number.NEGATIVE_INFINITY;
  for (const { round, step, run } of borders) {
    const x = Math.round(u.valToPos(step, 'x', true));
    if (x < bbox.left - 1 || x > bbox.left + bbox.width) continue;
    ctx.globalAlpha = same ? 1 : 0.55;
    ctx.strokeStyle = ctx.fillStyle = colour(same ? '--ink-2' : `--series-${(run % 8) + 1}`);
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    if (step > 0) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    const label = `round ${round}`;
    const width = ctx.measureText(label).width;
    if (!same || x < free || x + width > bbox.left + bbox.width + 8 * devicePixelRatio) continue;
    ctx.fillText(label, x, bbox.top - devicePixelRatio);
    free = x + width + 8 * devicePixelRatio;
  }
  ctx.restore();
}

// ── all charts ──

/** @param {{min: number, max: number}} range */
function zoom(range) {
  view = range;
  for (const { uplot } of plots) uplot.setScale('x', range);
}

/** What a drag has chosen. @param {uPlot} u */
function shown(u) {
  const { min, max } = u.scales.x ?? {};
  if (typeof min !== 'number' || typeof max !== 'number') return;
  view = { min, max };
  if (reset) reset.disabled = min <= whole.min && max >= whole.max;
}

for (const figure of document.querySelectorAll('.chart')) {
  if (!(figure instanceof HTMLElement)) continue;
  const chart = data.charts[Number(figure.dataset.chart)];
  if (chart) plots.push(new Plot(figure, chart));
}
for (const { uplot } of plots) uplot.over.addEventListener('dblclick', () => zoom(whole));
reset?.addEventListener('click', () => zoom(whole));

const form = document.querySelector('.controls');
const slider = document.getElementById('smoothing');
if (form instanceof HTMLElement) form.hidden = plots.length === 0;
form?.addEventListener('submit', (event) => event.preventDefault());
if (slider instanceof HTMLInputElement) {
  const output = document.querySelector('output');
  const apply = () => {
    smoothing = Number(slider.value);
    if (output) output.textContent = smoothing === 0 ? 'off' : smoothing.toFixed(2);
    for (const plot of plots) plot.update();
  };
  // A long noisy run is smooth at first sight; a short one is shown as it is.
  const longest = Math.max(0, ...data.charts.flatMap(({ lines }) => lines.map(({ x }) => x.length)));
  slider.value = longest > 150 ? '0.8' : '0';
  slider.addEventListener('input', apply);
  apply();
}
for (const box of document.querySelectorAll('input[data-run]')) {
  if (!(box instanceof HTMLInputElement)) continue;
  box.checked = true;
  box.addEventListener('change', () => {
    const run = Number(box.dataset.run);
    if (box.checked) hidden.delete(run);
    else hidden.add(run);
    for (const plot of plots) plot.update();
  });
}

// ── theme ──

const root = document.documentElement;
const themes = ['auto', 'light', 'dark'];
const button = document.getElementById('theme');

function redraw() {
  colours.clear();
  for (const { uplot } of plots) uplot.redraw(false);
}

/** @param {string} theme */
function setTheme(theme) {
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
  if (button) button.textContent = `Theme: ${theme}`;
  redraw();
}

/** A page from a file may have no storage. @param {(storage: Storage) => string | null | void} work */
function stored(work) {
  try {
    return work(localStorage) ?? undefined;
  } catch {
    return undefined;
  }
}

let theme = stored((storage) => storage.getItem('gleaner-theme')) ?? 'auto';
if (!themes.includes(theme)) theme = 'auto';
if (button) {
  button.hidden = false;
  button.addEventListener('click', () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length] ?? 'auto';
    stored((storage) => storage.setItem('gleaner-theme', theme));
    setTheme(theme);
  });
}
setTheme(theme);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
// Paper is white, whatever the screen is, and has one width, which the curves must know before the page is laid out on it.
addEventListener('beforeprint', () => {
  root.dataset.theme = 'light';
  document.body.classList.add('paper');
  for (const plot of plots) plot.fit();
  redraw();
});
addEventListener('afterprint', () => {
  document.body.classList.remove('paper');
  for (const plot of plots) plot.fit();
  setTheme(theme);
});
