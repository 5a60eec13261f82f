/** What becomes of instances whose agent is lost (the reference "Marathon", section 4). */
import type { App } from '../model/app.ts';

export interface UnreachableVerdict {
  /** Another instance takes its place. */
  readonly inactive: boolean;
  /** It is forgotten; should its agent return, it is killed there. */
  readonly expunged: boolean;
  /** When to ask again, in ms from now. */
  readonly againMs: number | undefined;
}

/** `lostMs`: for how long its agent has been counted as lost. */
export function unreachableVerdict(strategy: App['unreachableStrategy'], lostMs: number): UnreachableVerdict {
  if (strategy === 'disabled') return { inactive: false, expunged: false, againMs: undefined };
  const inactiveMs = strategy.inactiveAfterSeconds * 1000 - lostMs;
  const expungeMs = strategy.expungeAfterSeconds * 1000 - lostMs;
  const ahead = [inactiveMs, expungeMs].filter((ms) => ms > 0);
  return {
    inactive: inactiveMs <= 0,
    expunged: inactiveMs <= 0 && expungeMs <= 0,
    againMs: ahead.length === 0 ? undefined : Math.min(...ahead),
  };
}
