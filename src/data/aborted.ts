// An AbortSignal's end of work, as Node tells it: name AbortError, code ABORT_ERR, the signal's reason as cause.

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  const error = new Error('The operation was aborted', { cause: signal.reason });
  throw Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' });
}
