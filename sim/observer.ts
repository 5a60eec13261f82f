/**
 * What every node's user sees: how soon changes and deaths are known, whom a healthy node is hidden from, and whether
 * what must never happen does.
 *
 * It listens where the agent does (`subscribe`, `subscribeMembers`), so nothing inside the protocol is trusted.
 */
import { compareVersions, recordNode, type GossipRecord, type RecordVersion } from '../src/model/record.ts';
import type { NodeId } from '../src/model/names.ts';
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import { LIE } from './hostile.ts';
import type { MemberChange, NodeProgram } from './protocol.ts';

const MAX_VIOLATIONS = 20;
/** After waking, a node may still be hidden by what was said of it meanwhile. */
export const RETURN_MS = 500;

/** A host whose cable was out may still take others for unreachable: its streams wait for their next repetition. */
const REJOIN_MS = 10_000;

/** A change under way, or arrived. */
interface Change {
  readonly key: string;
  readonly id: number;
  at: number;
  readonly awaited: Set<Host>;
  readonly total: number;
  reach99Ms: number | undefined;
  allMs: number | undefined;
}

interface Death {
  readonly at: number;
  readonly awaited: Set<Host>;
}

export class Observer {
  readonly violations: string[] = [];
  readonly changes: Change[] = [];
  /** Per (death, viewer): ms until the viewer knew. */
  readonly detectionMs: number[] = [];
  /** A healthy node was called unreachable by a viewer that could reach it. */
  falseSuspicions = 0;
  /** The same for `suspect`, which hides nothing. */
  suspicions = 0;
  readonly #cluster: Cluster;
  /** By key: a later change of a record stands for the earlier ones. */
  readonly #active = new Map<string, Change[]>();
  readonly #deaths = new Map<NodeId, Death>();
  readonly #viewers = new Map<Host, Viewer>();
  readonly #byNode = new Map<NodeId, Host>();
  readonly #removed = new Set<NodeId>();
  #nextChange = 1;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    for (const host of cluster.hosts) this.#byNode.set(host.node, host);
  }

  watch(host: Host, program: NodeProgram): void {
    const viewer: Viewer = { seen: new Map(), hidden: new Set(), knownRemoved: new Set() };
    this.#viewers.set(host, viewer);
    this.#byNode.set(host.node, host);
    program.subscribe('', (changes) => {
      for (const record of changes) this.#saw(host, viewer, record);
    });
    program.subscribeMembers((changes) => {
      for (const change of changes) this.#judged(host, viewer, change);
    });
  }

  /** The program on `host` has ended: it waits for nothing more. */
  unwatch(host: Host): void {
    this.#viewers.delete(host);
    for (const change of this.#underWay()) this.#arrived(change, host);
    for (const death of this.#deaths.values()) death.awaited.delete(host);
  }

  /** `author` changes its record `key`; counts until every running node knows. */
  change(author: Host, key: string): void {
    const id = this.#nextChange++;
    const awaited = new Set(this.#cluster.running.filter((host) => host !== author));
    const at = this.#cluster.timeline.nowMs();
    const change: Change = {
      key,
      id,
      at,
      awaited,
      total: awaited.size,
      reach99Ms: undefined,
      allMs: undefined,
    };
    this.changes.push(change);
    this.#active.set(key, [...(this.#active.get(key) ?? []), change]);
    this.#progress(change);
    const before = author.own.get(key) as object | undefined;
    this.#cluster.begin(author.publish(key, { ...before, change: id }));
  }

  /** Counts the changes under way anew from now: the network has just been healed. */
  restartChanges(): void {
    for (const change of this.#underWay()) change.at = this.#cluster.timeline.nowMs();
  }

  get changesUnderWay(): number {
    return this.#underWay().length;
  }

  /** Changes of `node` under way are not awaited any more: it crashed in the midst of them. */
  giveUp(node: NodeId): void {
    for (const change of this.#underWay())
      if (recordNode(change.key) === node) {
        this.#active.delete(change.key);
        this.changes.splice(this.changes.indexOf(change), 1);
      }
  }

  /** `host` has just died; counts until every running node knows. */
  died(host: Host): void {
    const awaited = new Set(this.#cluster.running.filter((each) => each !== host));
    this.#deaths.set(host.node, { at: this.#cluster.timeline.nowMs(), awaited });
  }

  get deathsUnknown(): number {
    let count = 0;
    for (const { awaited } of this.#deaths.values()) for (const host of awaited) if (host.isRunning) count++;
    return count;
  }

  /** Deaths are over: whoever returns is not awaited as dead. */
  forgetDeaths(): void {
    this.#deaths.clear();
  }

  /** Counts accusations from now on. */
  forgetAccusations(): void {
    this.falseSuspicions = 0;
    this.suspicions = 0;
  }

  removed(node: NodeId): void {
    this.#removed.add(node);
  }

  isRemoved(node: NodeId): boolean {
    return this.#removed.has(node);
  }

  get removedNodes(): ReadonlySet<NodeId> {
    return this.#removed;
  }

  violation(text: string): void {
    const at = (this.#cluster.timeline.nowMs() / 1000).toFixed(3);
    if (this.violations.length < MAX_VIOLATIONS) this.violations.push(`at ${at} s: ${text}`);
  }

  /** Healthy viewers that hide `host` now. */
  hiddenBy(host: Host): Host[] {
    const found: Host[] = [];
    for (const [viewer, { hidden }] of this.#viewers)
      if (hidden.has(host.node) && this.isHealthy(viewer) && this.#areJoined(viewer, host))
        found.push(viewer);
    return found;
  }

  /** It runs and has done so long enough for others to know. */
  isHealthy(host: Host): boolean {
    const { healthySince } = host;
    return healthySince !== undefined && this.#cluster.timeline.nowMs() - healthySince > RETURN_MS;
  }

  #areJoined(one: Host, other: Host): boolean {
    const rejoinedAt = Math.max(one.rejoinedAt, other.rejoinedAt);
    if (this.#cluster.timeline.nowMs() - rejoinedAt < REJOIN_MS || !this.#cluster.isSettledSinceHealing)
      return false;
    return !one.link.isCutFrom(other.link);
  }

  #saw(host: Host, viewer: Viewer, record: GossipRecord): void {
    const { key, version, value } = record;
    const before = viewer.seen.get(key);
    if (before !== undefined && compareVersions(version, before) < 0)
      this.violation(`host ${host.index} went back from ${text(before)} to ${text(version)} of "${key}"`);
    viewer.seen.set(key, version);
    this.#checkRemoved(host, viewer, record);
    if (value === LIE) this.violation(`host ${host.index} believes a lie about "${key}"`);
    const id = (value as { change?: number } | null)?.change;
    if (id === undefined) return;
    for (const change of this.#active.get(key) ?? []) if (change.id <= id) this.#arrived(change, host);
  }

  #checkRemoved(host: Host, viewer: Viewer, { key, value }: GossipRecord): void {
    const gone = /^cluster\/removed\/(.*)$/.exec(key)?.[1];
    if (gone !== undefined) viewer.knownRemoved.add(gone);
    if (viewer.knownRemoved.size === 0 || value === null) return;
    const node = recordNode(key);
    if (node !== undefined && viewer.knownRemoved.has(node))
      this.violation(`host ${host.index} took "${key}" of a node that it knows to be removed`);
  }

  #underWay(): Change[] {
    return Array.from(this.#active.values()).flat();
  }

  #arrived(change: Change, host: Host): void {
    if (change.awaited.delete(host)) this.#progress(change);
  }

  #progress(change: Change): void {
    const now = this.#cluster.timeline.nowMs();
    const left = change.awaited.size;
    if (left <= change.total * 0.01) change.reach99Ms ??= now - change.at;
    if (left > 0) return;
    change.allMs = now - change.at;
    const others = (this.#active.get(change.key) ?? []).filter((other) => other !== change);
    if (others.length > 0) this.#active.set(change.key, others);
    else this.#active.delete(change.key);
  }

  #judged(host: Host, viewer: Viewer, { node, state }: MemberChange): void {
    if (state === 'unreachable') viewer.hidden.add(node);
    else viewer.hidden.delete(node);
    if (state === 'alive') return;
    const death = this.#deaths.get(node);
    if (death !== undefined) {
      if (state === 'unreachable' && death.awaited.delete(host))
        this.detectionMs.push(this.#cluster.timeline.nowMs() - death.at);
      return;
    }
    const target = this.#byNode.get(node);
    if (target === undefined || target.node !== node || !this.isHealthy(target)) return;
    if (!this.#areJoined(host, target)) return;
    if (state === 'unreachable') this.falseSuspicions++;
    else this.suspicions++;
    this.#cluster.log?.warn('a healthy node is accused', {
      atMs: this.#cluster.timeline.nowMs(),
      viewer: host.index,
      target: target.index,
      state,
    });
  }
}

/** What one program has shown to its user since its start. */
interface Viewer {
  readonly seen: Map<string, RecordVersion>;
  readonly hidden: Set<NodeId>;
  readonly knownRemoved: Set<string>;
}

function text({ epoch, sequence }: RecordVersion): string {
  return `${epoch}.${sequence}`;
}
