/**
 * Waits until nobody sends anything to tasks that are about to end.
 *
 * A task is withdrawn when its agent has published that it drains, and every reachable agent says that it has applied
 * that very record: VIPs, names and routes included. Agents are asked (agent-asker.ts), of key and version, since a table
 * of everybody's versions from everybody would be too large to gossip.
 *
 * Invariants: an agent that becomes unreachable is not waited for; one that is reachable but does not answer is waited for
 * no longer than `MAX_WAIT_MS`, and named in the log: an upgrade must end.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { NodeId } from '../../model/names.ts';
import type { GossipRecord } from '../../model/record.ts';
import { taskKey, taskRecord } from '../../model/task.ts';
import type { RecordExchange } from '../../node/record-exchange.ts';
import { AgentAsker, type AskApplied, type DrainingAgent } from './agent-asker.ts';

const MAX_WAIT_MS = 30_000;

export interface DrainerComponents {
  readonly exchange: Pick<RecordExchange, 'get' | 'subscribe' | 'isReachable'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly ask: AskApplied;
  readonly agents: () => readonly DrainingAgent[];
}

export class Drainer {
  readonly #components: DrainerComponents;
  readonly #underWay = new Map<string, AbortController>();
  readonly #askers = new Map<NodeId, AgentAsker>();

  constructor(components: DrainerComponents) {
    this.#components = components;
  }

  /** Begins with those that are new; `onWithdrawn` is called once for each. Those that are not named end. */
  watch(
    tasks: readonly { readonly taskId: string; readonly node: NodeId }[],
    onWithdrawn: (taskId: string) => void,
  ): void {
    const named = new Set(tasks.map(({ taskId }) => taskId));
    for (const [task, abort] of this.#underWay) {
      if (named.has(task)) continue;
      abort.abort();
      this.#underWay.delete(task);
    }
    for (const { taskId, node } of tasks) {
      if (this.#underWay.has(taskId)) continue;
      const abort = new AbortController();
      // One for each agent of the cluster; Node takes more than ten for a leak.
      setMaxListeners(0, abort.signal);
      this.#underWay.set(taskId, abort);
      void this.#drain(taskId, node, abort.signal).then(() => {
        if (!abort.signal.aborted) onWithdrawn(taskId);
      });
    }
  }

  close(): void {
    for (const abort of this.#underWay.values()) abort.abort();
    this.#underWay.clear();
    for (const asker of this.#askers.values()) asker.close();
    this.#askers.clear();
  }

  async #drain(taskId: string, node: NodeId, signal: AbortSignal): Promise<void> {
    const { clock, log, agents } = this.#components;
    const untilMs = clock.nowMs() + MAX_WAIT_MS;
    const key = taskKey(node, taskId);
    const record = await this.#published(key, node, untilMs, signal);
    if (record === undefined) {
      if (!signal.aborted)
        log.warn('An agent does not say that a task drains; it is killed', { taskId, node });
      return;
    }
    const asked = { key, ...record.version };
    const all = agents();
    for (const [each, asker] of this.#askers)
      if (asker.isIdle && !all.some((agent) => agent.node === each)) this.#askers.delete(each);
    await Promise.all(all.map((agent) => this.#askerOf(agent).applied(agent, asked, untilMs, signal)));
  }

  /** The first version of the record that says that it drains, or has ended. */
  #published(
    key: string,
    node: NodeId,
    untilMs: number,
    signal: AbortSignal,
  ): Promise<GossipRecord | undefined> {
    const { exchange, clock } = this.#components;
    const find = (): GossipRecord | undefined => {
      const record = exchange.get(key);
      return record !== undefined && isWithdrawn(record) ? record : undefined;
    };
    return new Promise((resolve) => {
      const look = (): void => {
        const found = find();
        if (found !== undefined || !exchange.isReachable(node)) end(found);
      };
      const end = (found: GossipRecord | undefined): void => {
        unsubscribe();
        timer.cancel();
        signal.removeEventListener('abort', giveUp);
        resolve(found);
      };
      const giveUp = (): void => end(undefined);
      const unsubscribe = exchange.subscribe(key, look);
      const timer = clock.after(untilMs - clock.nowMs(), giveUp);
      signal.addEventListener('abort', giveUp, { once: true });
      look();
    });
  }

  #askerOf(agent: DrainingAgent): AgentAsker {
    const known = this.#askers.get(agent.node);
    if (known !== undefined) return known;
    const { clock, log, ask, exchange } = this.#components;
    const isReachable = (node: NodeId): boolean => exchange.isReachable(node);
    const asker = new AgentAsker({ clock, log, ask, isReachable }, agent);
    this.#askers.set(agent.node, asker);
    return asker;
  }
}

/** Of a record that cannot be read nobody has made a backend. */
function isWithdrawn(record: GossipRecord): boolean {
  if (record.value === null) return true;
  const parsed = taskRecord.safeParse(record.value);
  return !parsed.success || parsed.data.draining || parsed.data.state !== 'TASK_RUNNING';
}
