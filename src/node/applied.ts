/** Who has applied a revision, and why others have not: pure. */
import type { NodeId } from '../model/names.ts';
import type { AppliedRecord } from '../model/record.ts';
import type { ClusterMarker } from './cluster-marker.ts';

/** One agent of the cluster as it looks from here. */
export interface AgentApplied {
  readonly node: NodeId;
  readonly name: string;
  readonly reachable: boolean;
  /** What it last told; absent when it has told nothing. */
  readonly applied?: AppliedRecord;
  /** From the first word of the newest revision here until word of this agent having applied it. */
  readonly afterMs?: number;
}

/**
 * unreachable: nothing is heard of it; it applies what it missed as soon as it is back. behind: it has not heard of the
 * revision or is at work. refused: its kernel does not take it. differs: at the same revision it holds other records
 * than this node; the next comparison mends that. silent: it tells no revision, being of an older version or just born.
 */
export type MissingReason = 'unreachable' | 'behind' | 'refused' | 'differs' | 'silent';

export interface MissingAgent {
  readonly node: NodeId;
  readonly name: string;
  readonly reason: MissingReason;
  /** The last one it told of. */
  readonly revision?: number;
  /** The reason in words. */
  readonly message: string;
}

export interface AppliedStatus {
  /** The one asked for; the newest known here when none was. */
  readonly revision: number;
  /** The newest known here. */
  readonly newest: number;
  readonly agents: number;
  readonly reachable: number;
  /** Agents that have it in their kernels. */
  readonly applied: number;
  /** Every reachable agent has it. */
  readonly done: boolean;
  /** Of the slowest of them: from the first word of the newest revision here until word of its being applied. */
  readonly slowest_ms?: number;
  /** Its name. */
  readonly slowest?: string;
  readonly missing: readonly MissingAgent[];
}

export function judgeApplied(
  revision: number,
  known: ClusterMarker,
  agents: readonly AgentApplied[],
): AppliedStatus {
  const missing = agents.flatMap((agent) => missingOf(revision, known, agent) ?? []);
  const absent = new Set(missing.map(({ node }) => node));
  const slowest = slowestOf(agents.filter(({ node }) => !absent.has(node)));
  return {
    revision,
    newest: known.revision,
    agents: agents.length,
    reachable: agents.filter(({ reachable }) => reachable).length,
    applied: agents.length - missing.length,
    done: missing.every(({ reason }) => reason === 'unreachable'),
    ...(slowest?.afterMs === undefined ? {} : { slowest_ms: slowest.afterMs, slowest: slowest.name }),
    missing,
  };
}

function missingOf(revision: number, known: ClusterMarker, agent: AgentApplied): MissingAgent | undefined {
  const why = reasonOf(revision, known, agent);
  if (why === undefined) return undefined;
  const { node, name, applied } = agent;
  const at = applied === undefined ? {} : { revision: applied.revision };
  return { node, name, reason: why, ...at, message: describe(why, revision, applied) };
}

function reasonOf(
  revision: number,
  known: ClusterMarker,
  { reachable, applied }: AgentApplied,
): MissingReason | undefined {
  if (revision === 0) return undefined;
  if (applied !== undefined && applied.revision >= revision) {
    const isOther = applied.revision === known.revision && applied.set !== known.set;
    if (!isOther) return undefined;
    return reachable ? 'differs' : 'unreachable';
  }
  if (!reachable) return 'unreachable';
  if (applied === undefined) return 'silent';
  return applied.failing === undefined ? 'behind' : 'refused';
}

function describe(reason: MissingReason, revision: number, applied: AppliedRecord | undefined): string {
  const last = applied === undefined ? 'none known' : `last at revision ${applied.revision}`;
  switch (reason) {
    case 'unreachable':
      return `unreachable, ${last}`;
    case 'behind':
      return `behind, at revision ${applied?.revision ?? 0}`;
    case 'refused':
      return describeRefusal(applied);
    case 'differs':
      return `at revision ${revision}, but with other records`;
    case 'silent':
      return 'tells no revision';
  }
}

/** `at revision 6: its kernel refuses 2 objects, such as device m-x exists: remove it` */
function describeRefusal({ revision = 0, failing = 0, because }: Partial<AppliedRecord> = {}): string {
  const at = revision === 0 ? '' : `at revision ${revision}: `;
  const objects = failing === 1 ? '1 object' : `${failing} objects`;
  if (because === undefined) return `${at}its kernel refuses ${objects}`;
  return `${at}its kernel refuses ${objects}${failing === 1 ? '' : ', such as'}: ${because}`;
}

function slowestOf(agents: readonly AgentApplied[]): AgentApplied | undefined {
  return agents.reduce<AgentApplied | undefined>(
    (worst, each) => ((each.afterMs ?? -1) > (worst?.afterMs ?? -1) ? each : worst),
    undefined,
  );
}

/** One line for people: `revision 812 applied on 64/64, slowest 310 ms (agent7)`. */
export function appliedSummary(status: AppliedStatus): string {
  const { revision, agents, applied, slowest_ms: ms, slowest } = status;
  const slowness = ms === undefined ? '' : `, slowest ${ms} ms (${slowest ?? ''})`;
  return `revision ${revision} applied on ${applied}/${agents}${slowness}`;
}
