/** What scenarios are made of. */
import { keys } from '../src/model/record.ts';
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import { areEqual, checkBounds } from './invariants.ts';
import type { ProtocolName } from './protocol.ts';
import { settle } from './settled.ts';

export interface ScenarioOptions {
  /** How long the main part lasts, virtual ms, where it is a matter of time. */
  readonly durationMs: number;
}

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** Share of packets lost. */
  readonly packetLoss: number;
  /** Nodes start with nothing but contacts. */
  readonly startsEmpty?: true;
  readonly durationMs: (nodes: number) => number;
  /** After the warm-up. */
  readonly run: (cluster: Cluster, options: ScenarioOptions) => Promise<void>;
}

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** From this size on a cluster is not started as a real one is. */
const MANY_NODES = 200;

/** Starts every host within a second and waits until they all know each other and connections have settled. */
export async function warmUp(cluster: Cluster, protocol: ProtocolName): Promise<void> {
  for (const host of cluster.hosts)
    cluster.timeline.after(cluster.random.next() * SECOND, () => cluster.begin(host.start()));
  const isSettled = protocol === 'portolan' && cluster.hosts.length >= MANY_NODES;
  if (isSettled) await settle(cluster);
  await cluster.run(12 * SECOND - cluster.timeline.nowMs());
  await converge(cluster, 60 * SECOND);
  // Whom it lost as a neighbour, a node without the others' rows took for lost to all, and said so.
  if (isSettled) cluster.observer.forgetAccusations();
}

/** Until all hold the same; at the limit that is a violation. Returns the virtual ms it took. */
export async function converge(cluster: Cluster, limitMs: number): Promise<number> {
  const ms = await cluster.until(() => areEqual(cluster), limitMs, 250);
  if (ms === undefined)
    cluster.observer.violation(`the nodes do not hold the same within ${limitMs / SECOND} s`);
  return ms ?? limitMs;
}

/** Until every change is known everywhere; at the limit that is a violation. */
export async function awaitChanges(cluster: Cluster, limitMs = MINUTE): Promise<void> {
  const ms = await cluster.until(() => cluster.observer.changesUnderWay === 0, limitMs, 50);
  if (ms === undefined)
    cluster.observer.violation(
      `${cluster.observer.changesUnderWay} changes are not known everywhere within ${limitMs / SECOND} s`,
    );
}

export async function awaitDetection(cluster: Cluster, limitMs = MINUTE): Promise<void> {
  const ms = await cluster.until(() => cluster.observer.deathsUnknown === 0, limitMs, 50);
  if (ms === undefined)
    cluster.observer.violation(
      `${cluster.observer.deathsUnknown} times a node's death is not known within ${limitMs / SECOND} s`,
    );
}

/** Lets time pass, with a look at what must hold every ten seconds. */
export async function pass(cluster: Cluster, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10 * SECOND) {
    await cluster.run(Math.min(left, 10 * SECOND));
    checkBounds(cluster);
    cluster.onProgress?.(cluster);
  }
}

/** One random host changes its node record. */
export function changeOne(cluster: Cluster, from: readonly Host[] = cluster.running): void {
  const [author] = cluster.pick(
    1,
    from.filter((host) => host.isRunning && !host.isStalled),
  );
  if (author !== undefined) cluster.observer.change(author, keys.node(author.node));
}

/** `count` changes, one every `everyMs`. */
export async function changes(cluster: Cluster, count: number, everyMs: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    changeOne(cluster);
    await cluster.run(everyMs);
  }
  checkBounds(cluster);
}

/** Every healthy node is shown as there by every healthy node that can reach it. */
export async function awaitReturn(cluster: Cluster, limitMs: number): Promise<void> {
  const hidden = (): number =>
    cluster.running.reduce((sum, host) => sum + cluster.observer.hiddenBy(host).length, 0);
  const ms = await cluster.until(() => hidden() === 0, limitMs, SECOND);
  if (ms === undefined)
    cluster.observer.violation(`${hidden()} times a healthy node is hidden after ${limitMs / SECOND} s`);
}
