// .arrow: Arrow IPC files and streams. What reads them is loaded for the first of them.

import type { Reader } from './reader.js';

const file = () => import('./arrow_file.js');

export const arrow = {
  name: 'arrow',
  endings: ['.arrow', '.feather', '.ipc', '.arrows'],
  begins: (start) =>
    start.toString('latin1', 0, 6) === 'ARROW1' ||
    (start.length >= 8 && start.readInt32LE(0) === -1 && start.readInt32LE(4) > 0),
  detail: async (path) => (await file()).detail(path),
  async *read(path) {
    yield* (await file()).read(path);
  },
} satisfies Reader<'arrow'>;
