// What a part of gleaner may say to a person. Where it goes is the caller's business: a terminal, a file, nowhere.

/** Where messages go that a person may read. */
export interface Log {
  /** What happened. */
  info(message: string): void;
  /** What the person may want to change. */
  warn(message: string): void;
}

export const silent: Log = { info() {}, warn() {} };
