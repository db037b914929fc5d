// The rounds' files as a method sees them: text is put beside what was sampled, and how far the sampling is becomes known.

import type { ArrowRows } from '../data/stream/arrow_rows.js';
import type { Generation, RoundPair, RoundRows, RoundStore } from '../methods/method.js';
import type { RoundFiles } from '../output/round_store.js';
import type { SamplingPlace } from './run_options.js';
import type { Output } from './run_output.js';

export class RunRounds implements RoundStore, AsyncDisposable {
  sampling: SamplingPlace | undefined;
  /** Files of the round under way. */
  readonly #open: { close(): Promise<void> }[] = [];

  constructor(
    /** Loaded by a method that has rounds. */
    private readonly files: () => Promise<RoundFiles>,
    private readonly output: Output,
  ) {}

  async generations(round: number, total: number): Promise<RoundRows<Generation>> {
    await this.#closeAll(); // nothing of an earlier round is read any more
    const file = this.#watch(await (await this.files()).generations(round));
    const place = { kept: file.length, total };
    this.sampling = place;
    return {
      length: file.length,
      append: async (group) => {
        await file.append(group.map((row) => this.output.withText(row)));
        place.kept = file.length;
      },
      finish: async () => {
        this.sampling = undefined;
        return this.#keep(await file.finish());
      },
    };
  }

  async pairs(round: number): Promise<RoundRows<RoundPair>> {
    const file = this.#watch(await (await this.files()).pairs(round));
    return { length: 0, append: (group) => file.append(group), finish: async () => this.#keep(await file.finish()) };
  }

  async openPairs(round: number) {
    return this.#keep(await (await this.files()).openPairs(round));
  }

  #watch<File extends { close(): Promise<void> }>(file: File): File {
    this.#open.push(file);
    return file;
  }

  #keep<Row>(rows: ArrowRows<Row>): ArrowRows<Row> {
    this.#open.push(rows);
    return rows;
  }

  async #closeAll(): Promise<void> {
    for (const rows of this.#open.splice(0)) await rows.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closeAll();
  }
}
