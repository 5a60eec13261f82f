/** Long pure work in slices, so that sockets are served meanwhile. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';

/** A turn of the event loop takes no longer for it than this. */
const TURN_MS = 3;

export async function inSlices<T>(
  { clock }: { readonly clock: Clock },
  work: Generator<undefined, T>,
): Promise<T> {
  for (let since = clock.nowMs(); ;) {
    const step = work.next();
    if (step.done === true) return step.value;
    if (clock.nowMs() - since < TURN_MS) continue;
    await setImmediate();
    since = clock.nowMs();
  }
}
