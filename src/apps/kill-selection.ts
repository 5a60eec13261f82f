/**
 * Which instances go first (the reference "Marathon", section 4, "Scale down order").
 *
 * Those chosen by GROUP_BY, so that balance is kept; then by condition; among equals the youngest or the oldest. Those
 * that are being killed already are not asked about: they are gone as far as this is concerned.
 */
import type { App } from '../model/app.ts';
import type { InstanceCondition } from '../model/deployment.ts';

export interface Candidate {
  readonly id: string;
  readonly condition: InstanceCondition;
  readonly isHealthy: boolean;
  /** RFC 3339: when it was made. */
  readonly createdAt: string;
  /** Of a field that a constraint names: the value on its agent. */
  readonly field: (name: string) => string | undefined;
}

const EARLIER: readonly InstanceCondition[] = [
  'UnreachableInactive',
  'Unreachable',
  'Unknown',
  'Provisioned',
  'Staging',
  'Starting',
];

function urgency({ condition }: Candidate): number {
  const at = EARLIER.indexOf(condition);
  return at < 0 ? EARLIER.length : at;
}

/** In the order in which they are killed, constraints apart. */
export function killOrder<T extends Candidate>(app: App, candidates: readonly T[]): T[] {
  const sign = app.killSelection === 'OLDEST_FIRST' ? 1 : -1;
  return [...candidates].sort(
    (a, b) =>
      urgency(a) - urgency(b) ||
      sign * compareText(a.createdAt, b.createdAt) ||
      sign * compareText(a.id, b.id),
  );
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** `count` of them, chosen one after another. */
export function chooseToKill<T extends Candidate>(app: App, candidates: readonly T[], count: number): T[] {
  const fields = app.constraints
    .filter(([, operator]) => operator === 'GROUP_BY')
    .map(([field = '']) => field);
  let left = killOrder(app, candidates);
  if (fields.length === 0) return left.slice(0, Math.max(0, count));
  const chosen: T[] = [];
  while (chosen.length < count) {
    const next = fromLargestGroup(left, fields) ?? left[0];
    if (next === undefined) break;
    chosen.push(next);
    left = left.filter((each) => each !== next);
  }
  return chosen;
}

/** The first that is in a largest group of every field; of the first field only, where no group suits all. */
function fromLargestGroup<T extends Candidate>(left: readonly T[], fields: readonly string[]): T | undefined {
  const inLargest = fields.map((field) => largestGroup(left, field));
  return (
    left.find((each) => inLargest.every((group) => group.has(each))) ??
    left.find((each) => inLargest[0]?.has(each))
  );
}

function largestGroup<T extends Candidate>(left: readonly T[], field: string): ReadonlySet<T> {
  const groups = new Map<string, T[]>();
  for (const each of left) {
    const value = each.field(field) ?? '';
    groups.set(value, [...(groups.get(value) ?? []), each]);
  }
  const largest = Math.max(0, ...Array.from(groups.values(), (group) => group.length));
  return new Set(
    Array.from(groups.values())
      .filter((group) => group.length === largest)
      .flat(),
  );
}
