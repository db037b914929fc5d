// What a part of gleaner may say to a person. Where it goes is the caller's business: a terminal, a file, nowhere.

export interface Log {
  info(message: string): void;
  warn(message: string): void;
}

export const silent: Log = { info() {}, warn() {} };
