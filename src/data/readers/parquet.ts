// .parquet. What reads it is loaded for the first file.

import type { Reader } from './reader.js';

const file = () => import('./parquet_file.js');

export const parquet: Reader<'parquet'> = {
  name: 'parquet',
  endings: ['.parquet', '.pq'],
  begins: (start) => start.toString('latin1', 0, 4) === 'PAR1',
  detail: async (path) => (await file()).detail(path),
  async *read(path) {
    yield* (await file()).read(path);
  },
};
