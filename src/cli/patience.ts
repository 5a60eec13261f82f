/** Waiting out a restart of the agent: what runs goes on without it, and so does whoever follows it. */
import { sleep } from '../base/clock.ts';
import { isPortolanError } from '../base/errors.ts';
import type { CliContext } from './context.ts';

const RETRY_MS = 200;
/** An agent that is away for longer is not coming back by itself. */
const PATIENCE_MS = 30_000;

/** The same context, whose calls are tried again while nobody answers; for calls that may be repeated. */
export function patient(context: CliContext, patienceMs = PATIENCE_MS): CliContext {
  return {
    ...context,
    call: async (target, init) => {
      const endMs = performance.now() + patienceMs;
      for (;;)
        try {
          return await context.call(target, init);
        } catch (error) {
          if (!isPortolanError(error, 'unavailable') || performance.now() > endMs) throw error;
          await sleep(RETRY_MS);
        }
    },
  };
}
