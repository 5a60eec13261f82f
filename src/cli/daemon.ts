/** Running a daemon in the foreground: until SIGTERM or SIGINT, then a clean end. */
import type { Log } from '../base/log.ts';

export interface Daemon {
  close(): Promise<void>;
}

/** How long a clean end may take before the process ends anyway. */
const CLOSE_TIMEOUT_MS = 10_000;

export async function runUntilSignal(log: Log, start: () => Promise<Daemon>): Promise<void> {
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  const daemon = await start();
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  const signal = await ended;
  log.info('Ending', { signal });
  setTimeout(() => process.exit(1), CLOSE_TIMEOUT_MS).unref();
  await daemon.close();
  clearInterval(keepAlive);
}
