// A command on its way to the engine thread and back.

import type { NativeEngine, NativeJob } from './addon.js';
import { abortError, nativeError } from './native_error.js';

/** Starts a command and waits for it; an abort cancels it, and one that came before keeps it from starting. */
export async function settle<T>(start: () => NativeJob<T>, signal?: AbortSignal, native?: NativeEngine): Promise<T> {
  if (signal?.aborted) throw abortError(signal.reason);
  let cancel: (() => void) | undefined;
  try {
    const job = start();
    cancel = () => native?.cancel(job.task);
    signal?.addEventListener('abort', cancel, { once: true });
    return await job.promise;
  } catch (error) {
    throw nativeError(error, signal);
  } finally {
    if (cancel) signal?.removeEventListener('abort', cancel);
  }
}

/** Errors of a native call that answers at once. */
export function typed<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw nativeError(error);
  }
}
