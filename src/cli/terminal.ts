// The only file that prints. Results go to stdout; what happens meanwhile to stderr, as a bar on a terminal and as plain lines elsewhere.

import { styleText } from 'node:util';
import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import { GleanerError } from '../common/errors.js';
import type { Log } from '../common/log.js';

/** Between plain progress lines, where there is no terminal. */
const LINE_EVERY_MS = 10_000;

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Whether results may be coloured: they go to a terminal, and nobody forbade it (NO_COLOR). */
export function coloured(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR;
}

export function style(format: Parameters<typeof styleText>[0], text: string): string {
  return coloured() ? styleText(format, text) : text;
}

/** Text without a line's end, as it is written. */
export function printPart(text: string): void {
  process.stdout.write(text);
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** A reader of results that went away (`| head`) ends the command without complaint; one of progress does not end the work. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error; // EIO: the terminal was closed
  });
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const drawn = new Table({
    head: [...head],
    style: { head: [], border: [] },
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
  });
  for (const row of rows) drawn.push([...row]);
  return drawn.toString();
}

/** Names and values, one a line. */
export function list(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

/** One clear message and what to do; a stack trace only for a fault of ours. */
export function sayError(error: unknown): void {
  if (error instanceof GleanerError) {
    say(`error: ${error.message}`);
    if (error.hint) say(`hint: ${error.hint}`);
    if (error.code !== 'ERR_GLEANER_INTERNAL') return;
  } else {
    say(`error: ${error instanceof Error ? error.message : String(error)}`);
  }
  say('This is a fault of gleaner; please report it with what follows.');
  if (error instanceof Error && error.stack) say(error.stack);
}

/** Progress of long work: stages one after the other, each with a rate and the time left. */
export class Progress {
  #bar: SingleBar | undefined;
  #stage = '';
  #started = 0;
  /** What was done when the stage was first heard of: a run that goes on does not begin at 0. */
  #from = 0;
  #saidAt = 0;

  /** quiet: no progress at all. */
  constructor(private readonly quiet = false) {}

  get log(): Log {
    return {
      info: (message) => this.#line(message),
      warn: (message) => this.#line(`warning: ${message}`),
    };
  }

  /** `detail` stands behind the numbers: a rate, a loss. */
  update(stage: string, done: number, total: number, detail = ''): void {
    if (this.quiet) return;
    const now = Date.now();
    if (stage !== this.#stage) {
      this.#end();
      this.#stage = stage;
      this.#started = this.#saidAt = now;
      this.#from = done;
    }
    const finished = done >= total;
    const since = done - this.#from;
    const rest =
      since > 0 && !finished && Number.isFinite(total) ? ((now - this.#started) / since) * (total - done) : undefined;
    const left = rest === undefined ? '' : `${duration(rest)} left`;
    if (process.stderr.isTTY) {
      this.#draw(done, total, `${left}  ${detail}`);
      if (finished) this.#end();
      return;
    }
    if (!finished && now - this.#saidAt < LINE_EVERY_MS) return;
    this.#saidAt = now;
    const of = Number.isFinite(total) ? `/${total}` : '';
    const short = finished && now - this.#started < 1000; // not worth a line
    if (!short) say([`${stage} ${done}${of}`, detail, left].filter((part) => part !== '').join(', '));
    if (finished) this.#end();
  }

  #draw(done: number, total: number, detail: string): void {
    const known = Number.isFinite(total);
    if (!this.#bar) {
      this.#bar = new SingleBar({
        stream: process.stderr,
        format: `${this.#stage.padEnd(12)} ${known ? '{bar} {value}/{total}' : '{value}'}  {detail}`,
        barsize: 24,
        hideCursor: true,
        clearOnComplete: true,
      });
      this.#bar.start(known ? Math.max(1, total) : done + 1, done, { detail });
    }
    if (!known) this.#bar.setTotal(done + 1);
    this.#bar.update(done, { detail });
  }

  #end(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#stage = '';
  }

  /** A line above the bar, which is drawn anew with the next update. */
  #line(text: string): void {
    this.#bar?.stop();
    this.#bar = undefined;
    if (!this.quiet) say(text);
  }

  stop(): void {
    this.#end();
  }
}

function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}
