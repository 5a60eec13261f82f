/** Signals that would end this process, for what it has started elsewhere. */

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export type EndingSignal = (typeof ENDING)[number];

/** From now on none of them ends this process: those that come are kept until somebody is there to take them. */
export function holdSignals(): (taker: (signal: EndingSignal) => void) => void {
  const held: EndingSignal[] = [];
  let take = (signal: EndingSignal): void => void held.push(signal);
  for (const signal of ENDING) process.on(signal, () => take(signal));
  return (taker) => {
    take = taker;
    held.splice(0).forEach(taker);
  };
}
