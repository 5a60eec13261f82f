/** Runs one scenario from one seed and gives its figures. */
import type { Log } from '../src/base/log.ts';
import { Cluster } from './cluster.ts';
import { checkAll } from './invariants.ts';
import { protocols, type ProtocolName } from './protocol.ts';
import { warmUp, type Scenario } from './scenario.ts';

export interface SimulationInit {
  readonly scenario: Scenario;
  readonly protocol: ProtocolName;
  readonly nodes: number;
  readonly seed: number;
  readonly recordsPerNode: number;
  /** Of the main part; `undefined` = the scenario's own. */
  readonly durationMs?: number | undefined;
  readonly log?: Log | undefined;
  /** Now and then: what a run that is cut short would have shown. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly virtualSeconds: number;
  readonly falseSuspicions: number;
  readonly violations: number;
}

/** Times in virtual ms; `null` where nothing of the kind took place. */
export interface Figures {
  readonly scenario: string;
  readonly protocol: ProtocolName;
  readonly nodes: number;
  readonly seed: number;
  readonly virtualSeconds: number;
  readonly violations: readonly string[];
  /** Of single changes: until all nodes knew, and (reach99) at the 99th percentile of changes until 99 % of nodes did. */
  readonly convergence: {
    readonly p50Ms: number | null;
    readonly p99Ms: number | null;
    readonly maxMs: number | null;
    readonly reach99Ms: number | null;
  };
  /** Of deaths: until 90 % and 99 % of those who were to know knew, and the last. */
  readonly detection: {
    readonly reach90Ms: number | null;
    readonly reach99Ms: number | null;
    readonly maxMs: number | null;
  };
  /** A healthy node called unreachable by a node that could reach it. */
  readonly falseSuspicions: number;
  /** Sent on the wire, headers included, mean of all nodes over the main part. */
  readonly bytesPerSecondPerNode: number;
  /** The same of the node that sent most. */
  readonly maxBytesPerSecond: number;
  readonly heapBytesPerNode: number | null;
  readonly wallSeconds: number;
  /** Events that the simulator has run. */
  readonly events: number;
}

const PACKET_DELAY_MS = 1;

export async function simulate(init: SimulationInit): Promise<Omit<Figures, 'heapBytesPerNode'>> {
  const { scenario, nodes, seed } = init;
  const startedMs = performance.now();
  const cluster = new Cluster({
    nodes,
    seed,
    recordsPerNode: init.recordsPerNode,
    delayMs: PACKET_DELAY_MS,
    packetLoss: scenario.packetLoss,
    isPreloaded: scenario.startsEmpty !== true,
    isSharing: true,
    open: protocols[init.protocol],
    log: init.log,
    onProgress: ({ timeline, observer }) =>
      init.onProgress?.({
        virtualSeconds: Math.round(timeline.nowMs() / 1000),
        falseSuspicions: observer.falseSuspicions,
        violations: observer.violations.length,
      }),
  });
  if (scenario.startsEmpty !== true) await warmUp(cluster, init.protocol);
  const before = traffic(cluster);
  await scenario.run(cluster, { durationMs: init.durationMs ?? scenario.durationMs(nodes) });
  const after = traffic(cluster);
  checkAll(cluster);
  const seconds = (after.atMs - before.atMs) / 1000;
  const sent = after.bytes.map((bytes, i) => (bytes - (before.bytes[i] ?? 0)) / seconds);
  return {
    scenario: scenario.name,
    protocol: init.protocol,
    nodes,
    seed,
    virtualSeconds: Math.round(cluster.timeline.nowMs() / 1000),
    ...observed(cluster),
    bytesPerSecondPerNode: Math.round(sent.reduce((sum, each) => sum + each, 0) / nodes),
    maxBytesPerSecond: Math.round(Math.max(...sent)),
    wallSeconds: Math.round((performance.now() - startedMs) / 100) / 10,
    events: cluster.timeline.ran,
  };
}

function observed({ observer }: Cluster) {
  const all = sorted(observer.changes.map(({ allMs }) => allMs ?? Infinity));
  const most = sorted(observer.changes.map(({ reach99Ms }) => reach99Ms ?? Infinity));
  const detection = sorted(observer.detectionMs);
  return {
    violations: observer.violations,
    convergence: {
      p50Ms: rank(all, 0.5),
      p99Ms: rank(all, 0.99),
      maxMs: rank(all, 1),
      reach99Ms: rank(most, 0.99),
    },
    detection: {
      reach90Ms: rank(detection, 0.9),
      reach99Ms: rank(detection, 0.99),
      maxMs: rank(detection, 1),
    },
    falseSuspicions: observer.falseSuspicions,
  };
}

function traffic(cluster: Cluster): { readonly atMs: number; readonly bytes: readonly number[] } {
  return { atMs: cluster.timeline.nowMs(), bytes: cluster.hosts.map(({ link }) => link.sentBytes) };
}

function sorted(values: readonly number[]): number[] {
  return Array.from(Float64Array.from(values).sort());
}

/** Nearest rank; `null` when there is nothing, or it never happened. */
function rank(values: readonly number[], share: number): number | null {
  const value = values[Math.max(0, Math.ceil(values.length * share) - 1)];
  return value === undefined || value === Infinity ? null : Math.round(value);
}
