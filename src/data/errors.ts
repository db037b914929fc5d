// Errors of this room: ERR_GLEANER_DATA, with the value at fault shown short, whatever its size.

import { fileReason, GleanerError } from '../common/errors.js';

export function dataError(message: string, hint?: string, cause?: unknown): GleanerError {
  return new GleanerError('ERR_GLEANER_DATA', message, hint, cause === undefined ? undefined : { cause });
}

export function clip(text: string, most = 100): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** A value as a message shows it. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return JSON.stringify(clip(value, 60));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return `an object with ${showKeys(Object.keys(value))}`;
  return clip(String(value));
}

export function showKeys(keys: readonly string[]): string {
  if (keys.length === 0) return 'no key';
  const shown = keys.slice(0, 8).map((key) => clip(key, 40));
  return `${keys.length === 1 ? 'the key' : 'the keys'} ${shown.join(', ')}${keys.length > 8 ? ', …' : ''}`;
}

/** What the file system refused, as an error of the file that was asked for. */
export function fileError(path: string, cause: unknown, hint?: string): GleanerError {
  const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
  const where = missing ? 'Check the path: it starts at the folder where the command runs.' : undefined;
  return dataError(`${path}: ${clip(fileReason(cause))}`, hint ?? where, cause);
}
