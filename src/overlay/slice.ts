/**
 * Long pure work in slices: a generator that yields now and then. Whoever has an event loop to care for runs it slice by
 * slice, everyone else by `drain`.
 */

/** How many objects are dealt with between two `yield`s: well under a millisecond, or a few when nothing is compiled. */
export const SLICE = 250;

/** Runs sliced work to its end at once. */
export function drain<T>(work: Generator<undefined, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}
