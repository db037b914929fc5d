// lz4js has no types of its own.
declare module 'lz4js' {
  /** Writes what the frame holds into `to`; gives its size, which may exceed `to`. */
  export function decompressFrame(from: Uint8Array, to: Uint8Array): number;
}
