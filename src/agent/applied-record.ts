/**
 * Whether one record is in this host's kernel: for those who must know it of a node's own record, such as a backend that
 * is about to end.
 *
 * A node's records have no revision that all could tell of: a table of everybody's versions, from everybody, would be a
 * million entries at a thousand nodes. So whoever needs to know asks the agents, and asks of a key and a version.
 */
import type { Clock } from '../base/clock.ts';
import { compareVersions, type RecordVersion } from '../model/record.ts';
import type { RecordExchange } from '../node/record-exchange.ts';
import type { RoundReport } from './reconciler.ts';

export interface AppliedRecordComponents {
  readonly exchange: Pick<RecordExchange, 'get' | 'subscribe'>;
  readonly clock: Clock;
  /** The report of a round of reconciliation that begins after the call. */
  settle(): Promise<Pick<RoundReport, 'done' | 'failures' | 'faults'>>;
}

export interface AppliedRecordQuestion {
  readonly key: string;
  /** This one or a later one; a tombstone counts like any other. */
  readonly version: RecordVersion;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Resolves when it is, or to false when it was not heard of in time or the kernel is not as desired with it. */
export async function isRecordApplied(
  components: AppliedRecordComponents,
  question: AppliedRecordQuestion,
): Promise<boolean> {
  if (!(await isHeard(components, question))) return false;
  const { done, failures, faults } = await components.settle();
  return done && failures.length === 0 && faults.length === 0;
}

function isHeard(
  { exchange, clock }: AppliedRecordComponents,
  { key, version, timeoutMs, signal }: AppliedRecordQuestion,
): Promise<boolean> {
  const isHeld = (): boolean => {
    const held = exchange.get(key);
    return held !== undefined && compareVersions(held.version, version) >= 0;
  };
  if (isHeld() || timeoutMs <= 0) return Promise.resolve(isHeld());
  return new Promise((resolve) => {
    const end = (): void => {
      unsubscribe();
      timer.cancel();
      signal?.removeEventListener('abort', end);
      resolve(isHeld());
    };
    const unsubscribe = exchange.subscribe(key, () => {
      if (isHeld()) end();
    });
    const timer = clock.after(timeoutMs, end);
    signal?.addEventListener('abort', end, { once: true });
  });
}
