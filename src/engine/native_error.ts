// Errors of the addon as the caller knows them: GleanerError with code and hint, or Node's AbortError.

import { GleanerError, isErrorCode } from '../common/errors.js';

export function nativeError(error: unknown, signal?: AbortSignal): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  if (error.code === 'ABORT_ERR') return abortError(signal?.reason);
  const hint = 'hint' in error && typeof error.hint === 'string' && error.hint !== '' ? error.hint : undefined;
  return isErrorCode(error.code) ? new GleanerError(error.code, error.message, hint, { cause: error }) : error;
}

/** As Node's own: name AbortError, code ABORT_ERR, the signal's reason as cause. */
export function abortError(cause: unknown): Error {
  return Object.assign(new Error('The operation was aborted', { cause }), { name: 'AbortError', code: 'ABORT_ERR' });
}
