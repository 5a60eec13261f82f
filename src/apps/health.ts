/**
 * Counting the answers of health checks: when a task is alive, and when it must be ended for not being.
 *
 * Purpose: Marathon's rules (reference "Marathon", section 1.2) as pure functions; who asks is the agent's business.
 * Invariants: a failure before the first success and within the grace period counts for nothing; any success sets the
 * count of failures back; a task is told healthy when every check has succeeded last.
 */
import type { HealthCheck, TaskHealth } from '../model/task.ts';

export type CheckResult = { readonly ok: true } | { readonly ok: false; readonly cause: string };

export interface CheckOutcome {
  /** Absent = the answer counts for nothing. */
  readonly health?: TaskHealth;
  /** The task has failed too often in a row. */
  readonly kill: boolean;
}

export interface CheckTimes {
  /** Wall time of the start of the task, ms. */
  readonly startedMs: number;
  /** Wall time of the answer, ms. */
  readonly nowMs: number;
}

const MAX_CAUSE = 200;

/** What an answer to the check `index` makes of what was known; `before` is absent until an answer has counted. */
export function countAnswer(
  index: number,
  check: HealthCheck,
  before: TaskHealth | undefined,
  result: CheckResult,
  times: CheckTimes,
): CheckOutcome {
  const at = new Date(times.nowMs).toISOString();
  const known = before ?? { index, alive: false, consecutive_failures: 0 };
  if (result.ok)
    return {
      health: {
        ...known,
        alive: true,
        consecutive_failures: 0,
        first_success: known.first_success ?? at,
        last_success: at,
      },
      kill: false,
    };
  const inGrace = times.nowMs - times.startedMs < check.grace_s * 1000;
  if (inGrace && known.first_success === undefined) return { kill: false };
  const failures = known.consecutive_failures + 1;
  const limit = failureLimit(check);
  return {
    health: {
      ...known,
      alive: false,
      consecutive_failures: failures,
      last_failure: at,
      last_failure_cause: result.cause.slice(0, MAX_CAUSE),
    },
    kill: limit > 0 && failures >= limit,
  };
}

/** 0 = never: so say Marathon's own checks; with those of Mesos it means the first. */
function failureLimit({ protocol, max_failures }: HealthCheck): number {
  return max_failures === 0 && protocol.startsWith('MESOS_') ? 1 : max_failures;
}

/** `undefined` until enough is known: nothing failed, and some check has not answered yet. */
export function isHealthy(checks: number, health: readonly TaskHealth[]): boolean | undefined {
  if (checks === 0) return undefined;
  if (health.some(({ alive }) => !alive)) return false;
  return health.length === checks ? true : undefined;
}

/** When a check is made first, after the start, and again after one was made; ms. */
export function firstCheckMs(check: HealthCheck): number {
  return check.delay_s * 1000;
}
