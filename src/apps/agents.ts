/** The agents as the orchestrator sees them: which are there, lost, or drained. */
import type { NodeId } from '../model/names.ts';
import type { Effects } from './effects.ts';
import type { AgentHealth } from './instance-table.ts';
import type { SchedulerAgent } from './offers.ts';
import { appKeys } from './store-keys.ts';

export class Agents {
  readonly #lostMs: number;
  readonly #drained: Set<NodeId>;
  #agents: ReadonlyMap<NodeId, SchedulerAgent> = new Map();
  /** Monotonic ms; since when it is unreachable. */
  readonly #unreachableSince = new Map<NodeId, number>();
  readonly #lost = new Set<NodeId>();

  constructor(init: { readonly agentLostMs: number }, drained: readonly NodeId[]) {
    this.#lostMs = init.agentLostMs;
    this.#drained = new Set(drained);
  }

  all(): readonly SchedulerAgent[] {
    return Array.from(this.#agents.values(), (agent) => ({
      ...agent,
      isDrained: this.#drained.has(agent.node),
    }));
  }

  get(node: NodeId): SchedulerAgent | undefined {
    return this.#agents.get(node);
  }

  health(node: NodeId): AgentHealth {
    return { isReachable: this.#agents.get(node)?.isReachable ?? false, isLost: this.#lost.has(node) };
  }

  isDrained(node: NodeId): boolean {
    return this.#drained.has(node);
  }

  setDrained(node: NodeId, drained: boolean, effects: Effects): void {
    if (drained) this.#drained.add(node);
    else this.#drained.delete(node);
    effects.writes.set(appKeys.drainedNode(node), drained ? { node } : undefined);
  }

  /** Returns the nodes that are reachable now and were not, or the other way about. */
  set(agents: readonly SchedulerAgent[], effects: Effects): ReadonlySet<NodeId> {
    const before = this.#agents;
    this.#agents = new Map(agents.map((agent) => [agent.node, agent]));
    const changed = new Set<NodeId>();
    for (const { node, isReachable } of agents) {
      if (before.get(node)?.isReachable !== isReachable) changed.add(node);
      if (!isReachable) this.watch(node, effects);
      else if (this.#unreachableSince.delete(node)) this.#lost.delete(node);
    }
    for (const node of before.keys()) {
      if (this.#agents.has(node)) continue;
      changed.add(node);
      this.#unreachableSince.delete(node);
      this.#lost.delete(node);
    }
    return changed;
  }

  /** An agent that tasks count on but nobody has heard of is unreachable too. */
  watch(node: NodeId, effects: Effects): void {
    if (this.#unreachableSince.has(node)) return;
    this.#unreachableSince.set(node, effects.now.ms);
    effects.wakeIn(this.#lostMs);
  }

  /** Those whose time is over by now. */
  newlyLost(effects: Effects): readonly NodeId[] {
    const lost: NodeId[] = [];
    for (const [node, since] of this.#unreachableSince) {
      if (this.#lost.has(node)) continue;
      const leftMs = since + this.#lostMs - effects.now.ms;
      if (leftMs > 0) effects.wakeIn(leftMs);
      else lost.push(node);
    }
    for (const node of lost) this.#lost.add(node);
    return lost;
  }

  lost(): Iterable<NodeId> {
    return this.#lost;
  }

  /** Ms since it was given up; 0 when it is not. */
  lostMs(node: NodeId, nowMs: number): number {
    const since = this.#unreachableSince.get(node);
    return since === undefined ? 0 : Math.max(0, nowMs - since - this.#lostMs);
  }
}
