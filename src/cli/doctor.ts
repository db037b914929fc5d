// gleaner doctor: what this machine offers, and what gleaner will use of it.

import { freemem } from 'node:os';
import { Command } from 'commander';
import { engineInfo } from '../engine/engine.js';
import { gigabytes } from '../recipe/plan.js';
import { list, print, printJson } from './terminal.js';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('what will be used on this machine, and why')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', '\nExample:\n  gleaner doctor --json')
    .action((options: { json?: true }) => doctor(options.json ?? false));
}

const reasons: Record<string, string> = {
  avx512: 'the CPU has AVX-512',
  avx2: 'the CPU has AVX2 and FMA',
  portable: 'the CPU has neither AVX2 nor AVX-512: slow',
};

function doctor(json: boolean): void {
  const info = engineInfo();
  const free = freemem();
  const forced = process.env.GLEANER_ISA;
  if (json) {
    printJson({
      ...info,
      node: process.version,
      free_memory_bytes: free,
      threads: info.cores,
      cuda: { available: false, reason: 'no CUDA backend in this version' },
    });
    return;
  }
  print(
    list([
      ['backend', 'cpu (fp32); this version has no CUDA backend'],
      ['cpu', info.cpu],
      ['kernels', `${info.isa}: ${forced ? `GLEANER_ISA=${forced} asks for it` : reasons[info.isa]}`],
      ['threads', `${info.cores}: one a core`],
      [
        'memory',
        `${gigabytes(free)} of ${gigabytes(info.memory_bytes)} free; a run may plan with ${gigabytes(free * 0.9)}`,
      ],
      ['node', process.version],
      ['addon', 'loaded'],
    ]),
  );
}
