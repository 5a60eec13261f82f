/**
 * What constraints mean (the reference "Marathon", section 1.3). Their form was checked when the app was accepted.
 *
 * A constraint looks at one field of an agent: its name or address (`hostname`), region, zone or an attribute. All
 * instances of the app count, of whatever version: during an upgrade UNIQUE wants an agent of its own for each of both.
 */
import type { Constraint } from '../model/app.ts';

/** What constraints can ask of an agent. */
export interface ConstrainedAgent {
  readonly name: string;
  readonly address: string;
  readonly region: string | undefined;
  readonly zone: string | undefined;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Instances by the field's value: of the app, wherever they are. */
type Counts = ReadonlyMap<string, number>;

export interface ConstraintSituation {
  readonly counts: Counts;
  /** Instances that the app is to have. */
  readonly wanted: number;
  /** Every value of the field among the agents. */
  readonly values: ReadonlySet<string>;
}

export function fieldOf(agent: ConstrainedAgent, field: string): string | undefined {
  switch (field) {
    case 'hostname':
    case '@hostname':
      return agent.name;
    case '@region':
      return agent.region;
    case '@zone':
      return agent.zone;
    default:
      return agent.attributes[field];
  }
}

const isHostname = (field: string): boolean => field === 'hostname' || field === '@hostname';

/** A host is named by its name or by its address, as its user likes. */
function matches(agent: ConstrainedAgent, field: string, test: (value: string) => boolean): boolean {
  const value = fieldOf(agent, field);
  return value !== undefined && (test(value) || (isHostname(field) && test(agent.address)));
}

export function isGroupBy(constraint: Constraint): boolean {
  return constraint[1] === 'GROUP_BY';
}

/** Whether what it says of an agent may change as other instances come: all but those that look at the agent alone. */
export function dependsOnInstances([, operator, value]: Constraint): boolean {
  if (operator === 'CLUSTER') return value === undefined || value === '';
  return operator === 'UNIQUE' || operator === 'GROUP_BY' || operator === 'MAX_PER';
}

/** Whether one more instance may be on the agent. */
export function allows(
  constraint: Constraint,
  agent: ConstrainedAgent,
  situation: () => ConstraintSituation,
): boolean {
  const [field = '', operator, value] = constraint;
  const own = fieldOf(agent, field);
  if (own === undefined) return operator === 'UNLIKE';
  switch (operator) {
    case 'UNIQUE':
      return (situation().counts.get(own) ?? 0) === 0;
    case 'CLUSTER':
      if (value !== undefined && value !== '') return matches(agent, field, (each) => each === value);
      return Array.from(situation().counts.keys()).every((each) => each === own);
    case 'GROUP_BY':
      return value === undefined
        ? isSmallest(own, situation())
        : groupHasRoom(own, Number(value), situation());
    case 'LIKE':
      return matches(agent, field, fullMatch(value));
    case 'UNLIKE':
      return !matches(agent, field, fullMatch(value));
    case 'MAX_PER':
      return (situation().counts.get(own) ?? 0) < Number(value);
    case 'IS':
      return matches(agent, field, (each) => isEqual(each, value ?? ''));
    default:
      return false;
  }
}

function fullMatch(pattern: string | undefined): (value: string) => boolean {
  const whole = new RegExp(`^(?:${pattern ?? ''})$`);
  return (value) => whole.test(value);
}

/** Numbers are equal when they are to three decimals. */
function isEqual(a: string, b: string): boolean {
  if (a === b) return true;
  const number = /^[+-]?(\d+\.?\d*|\.\d+)$/;
  return number.test(a) && number.test(b) && Math.round(Number(a) * 1000) === Math.round(Number(b) * 1000);
}

/** Without a number of groups: the smallest of all groups that any agent is in. */
function isSmallest(own: string, { counts, values }: ConstraintSituation): boolean {
  const count = counts.get(own) ?? 0;
  for (const each of values) if ((counts.get(each) ?? 0) < count) return false;
  return true;
}

/**
 * Each of `groups` gets floor(n / groups), and as many as remain get one more.
 *
 * n grows with an upgrade that has more instances than wanted for a while: else none of the new ones had a place.
 */
function groupHasRoom(own: string, groups: number, { counts, wanted }: ConstraintSituation): boolean {
  const placed = sum(counts.values());
  const n = Math.max(wanted, placed + 1);
  const count = counts.get(own);
  if (count === undefined) return counts.size < groups;
  const each = Math.floor(n / groups);
  const rest = n % groups;
  const used = sum(Array.from(counts.values(), (size) => Math.max(0, size - each)));
  return count < each || (count === each && rest - used > 0);
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

/** One sentence without its subject, for those who wonder: "does not satisfy hostname UNIQUE". */
export function describeConstraint([field, operator, value]: Constraint): string {
  return `does not satisfy the constraint ${[field, operator, ...(value === undefined ? [] : [value])].join(' ')}`;
}
