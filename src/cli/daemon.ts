/** Running a daemon in the foreground: until SIGTERM or SIGINT, then a clean end. */
import type { Log } from '../base/log.ts';

export interface Daemon {
  close(): Promise<void>;
}

/** How long a clean end may take before the process ends anyway. */
const CLOSE_TIMEOUT_MS = 10_000;

/** `start` is given up by its signal when the daemon is told to end before it has begun. */
export async function runUntilSignal(
  log: Log,
  start: (signal: AbortSignal) => Promise<Daemon>,
): Promise<void> {
  const starting = new AbortController();
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  void ended.then(() => starting.abort());
  // Clocks and the kernel's sockets keep no process alive: a start that waits for nothing else would end it, without a word.
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  try {
    const daemon = await start(starting.signal).catch((error: unknown) => {
      if (starting.signal.aborted) return undefined;
      throw error;
    });
    if (daemon === undefined) return;
    const signal = await ended;
    log.info('Ending', { signal });
    setTimeout(() => process.exit(1), CLOSE_TIMEOUT_MS).unref();
    await daemon.close();
  } finally {
    clearInterval(keepAlive);
  }
}
