// What goes wrong, as the caller sees it: a code that programs can test, a message that names the value at fault, a hint with the next step.

/** Each code has its cure in docs/troubleshooting.md. */
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

/** What went wrong, for programs: docs/troubleshooting.md has a cure for each. */
export type ErrorCode = (typeof errorCodes)[number];

/** Every error that is not a fault of gleaner; an abort is Node's AbortError. */
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

const fileReasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'this is a folder',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  EROFS: 'this file system may only be read',
  ENOTDIR: 'a part of this path is a file',
  EEXIST: 'a part of this path is a file',
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
  EMFILE: 'too many files are open',
};

/** What the file system refused, in words; the system's own message where there are none. */
export function fileReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return (typeof code === 'string' ? fileReasons[code] : undefined) ?? messageOf(error);
}
