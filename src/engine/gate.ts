// Who may use the model when. What only reads it (score, generate, save) runs side by side; what changes it or its training runs alone, in
// the order of the calls; while other weights are in place for a pass, the model belongs to the code of that pass.

import { AsyncLocalStorage } from 'node:async_hooks';
import { GleanerError } from '../common/errors.js';
import { abortError } from './native_error.js';

/** One use of other weights. */
class Pass {
  users = 0;
  /** Called when the last user leaves. */
  left: (() => void) | undefined;
}

interface Waiter {
  alone: boolean;
  admit: () => void;
}

export class Gate {
  #readers = 0;
  #changing = false;
  readonly #waiting: Waiter[] = [];
  #pass: Pass | undefined;
  /** In which pass the calling code runs. */
  readonly #inside = new AsyncLocalStorage<Pass>();

  /** Side by side with others that only read; inside a pass, at once. */
  async read<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const pass = this.#pass;
    if (pass) {
      if (this.#inside.getStore() !== pass) throw otherWeights();
      pass.users += 1;
      try {
        return await work();
      } finally {
        pass.users -= 1;
        if (pass.users === 0) pass.left?.();
      }
    }
    await this.#enter(false, signal);
    try {
      return await work();
    } finally {
      this.#readers -= 1;
      this.#admit();
    }
  }

  /** Alone, when all that was called before is done. Never while a pass lasts. */
  async change<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#pass) throw otherWeights();
    return this.#alone(work, signal);
  }

  /**
   * `exchange` puts other weights in place, calls `run` and puts today's back. Commands of the code inside `run` see the other weights; those
   * of anyone else are refused until the pass is over. What that code began without waiting for it is over before `run` is.
   */
  async pass<T>(exchange: (run: (work: () => Promise<T>) => Promise<T>) => Promise<T>): Promise<T> {
    if (this.#pass) throw otherWeights();
    const pass = new Pass();
    this.#pass = pass;
    const run = async (work: () => Promise<T>): Promise<T> => {
      try {
        return await this.#inside.run(pass, work);
      } finally {
        if (pass.users > 0)
          await new Promise<void>((resolve) => {
            pass.left = resolve;
          });
      }
    };
    try {
      return await this.#alone(() => exchange(run));
    } finally {
      this.#pass = undefined;
    }
  }

  async #alone<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#enter(true, signal);
    try {
      return await work();
    } finally {
      this.#changing = false;
      this.#admit();
    }
  }

  async #enter(alone: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw abortError(signal.reason);
    await new Promise<void>((resolve, reject) => {
      const admit = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const waiter = { alone, admit };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(abortError(signal?.reason));
        this.#admit();
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiter);
      this.#admit();
    });
  }

  /** Lets in, from the front, whoever may run now. */
  #admit(): void {
    for (let first = this.#waiting[0]; first && !this.#changing; first = this.#waiting[0]) {
      if (first.alone && this.#readers > 0) return;
      this.#waiting.shift();
      if (first.alone) this.#changing = true;
      else this.#readers += 1;
      first.admit();
    }
  }
}

function otherWeights(): GleanerError {
  return new GleanerError(
    'ERR_GLEANER_BUSY',
    'other weights are in place (withInitialWeights or withRoundWeights is running): only its own code may use the model, and not change it',
    'await it before the next call',
  );
}
