// The clock of work that runs in this process.

export interface Timed<T> {
  result: T;
  seconds: number;
  cpu_seconds: number;
}

export async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await work();
  const seconds = (performance.now() - start) / 1e3;
  const { user, system } = process.cpuUsage(cpu);
  return { result, seconds, cpu_seconds: (user + system) / 1e6 };
}
