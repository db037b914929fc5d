// What goes wrong, as the caller sees it: a code that programs can test, a message that names the value at fault, a hint with the next step.

/** Each code has its cure in docs/errors.md. */
export const errorCodes = [
  'ERR_GLEANER_RECIPE',
  'ERR_GLEANER_MODEL',
  'ERR_GLEANER_DATA',
  'ERR_GLEANER_USAGE',
  'ERR_GLEANER_MEMORY',
  'ERR_GLEANER_DISK',
  'ERR_GLEANER_NUMERIC',
  'ERR_GLEANER_BUSY',
  'ERR_GLEANER_CLOSED',
  'ERR_GLEANER_BUILD',
  'ERR_GLEANER_INTERNAL',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export class GleanerError extends Error {
  override readonly name = 'GleanerError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly hint?: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return errorCodes.some((known) => known === code);
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
