/**
 * Which nodes this one can reach, as far as it can tell.
 *
 * Invariants: `unreachable` hides a node and erases nothing; a node is judged from here only, so that two viewers may
 * differ; a change is told once.
 */
import type { NodeId } from '../model/names.ts';

export type ReachState = 'alive' | 'suspect' | 'unreachable';

export interface Reach {
  readonly node: NodeId;
  readonly state: ReachState;
  /** Of the last change of state; monotonic ms. */
  readonly since: number;
}

export class ReachTable {
  readonly #states = new Map<NodeId, Reach>();
  readonly #changed = new Map<NodeId, Reach>();

  get(node: NodeId): Reach | undefined {
    return this.#states.get(node);
  }

  /** A node that was not judged before counts as alive. */
  judge(node: NodeId, state: ReachState, now: number): void {
    if (this.#states.get(node)?.state === state) return;
    const reach = { node, state, since: now };
    this.#states.set(node, reach);
    this.#changed.set(node, reach);
  }

  forget(node: NodeId): void {
    this.#states.delete(node);
    this.#changed.delete(node);
  }

  /** What changed since the last call. */
  takeChanges(): Reach[] {
    if (this.#changed.size === 0) return [];
    const changes = Array.from(this.#changed.values());
    this.#changed.clear();
    return changes;
  }
}
