/**
 * SUBSCRIBE of the operator API: the state once, then what changes in it, in RecordIO (a length in decimal, LF, that many
 * bytes of JSON).
 *
 * Invariants: what is told is the difference to what was told before, so a consumer that applies it holds the state; a
 * subscriber whose queue is full is dropped and begins anew.
 */
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { ClusterState } from './cluster-state.ts';
import { isTerminal, type TaskState } from '../../model/task.ts';
import { frameworkNames, frameworkId, type ClusterFacts, type TaskFacts } from './facts.ts';
import { getState, operatorAgent, operatorFramework, operatorStatus, operatorTask } from './operator.ts';
import { stateOf } from './task.ts';

const HEARTBEAT_S = 15;
/** Changes of one burst are told together. */
const GATHER_MS = 20;
const MAX_QUEUED_BYTES = 16 * 1024 * 1024;
export const MAX_SUBSCRIBERS = 256;

interface Told {
  readonly tasks: ReadonlyMap<string, { readonly task: TaskFacts; readonly mark: string }>;
  readonly agents: ReadonlyMap<string, boolean>;
  readonly frameworks: ReadonlySet<string>;
}

export class Subscriptions {
  readonly #state: ClusterState;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #subscribers = new Map<ServerResponse, string>();
  #told: Told | undefined;
  #isBeating = false;
  #isGathering = false;
  readonly #unsubscribe: () => void;

  constructor(components: { readonly state: ClusterState; readonly clock: Clock; readonly log: Log }) {
    this.#state = components.state;
    this.#clock = components.clock;
    this.#log = components.log.child('operator');
    this.#unsubscribe = this.#state.subscribe(() => this.changed());
  }

  /** Takes the response over. False = there are too many already. */
  attach(response: ServerResponse, headers: Readonly<Record<string, string>>, remote: string): boolean {
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) return false;
    this.#tell();
    const facts = this.#state.facts();
    this.#told = toldOf(facts);
    response.writeHead(200, { ...headers, 'cache-control': 'no-cache' });
    response.once('close', () => this.#subscribers.delete(response));
    response.on('error', (error) => this.#log.debug('A subscription failed', { remote, error }));
    this.#subscribers.set(response, remote);
    const subscribed = { get_state: getState(facts), heartbeat_interval_seconds: HEARTBEAT_S };
    response.write(record({ type: 'SUBSCRIBED', subscribed }));
    response.write(record({ type: 'HEARTBEAT' }));
    this.#beat();
    return true;
  }

  /** Something of the cluster may have changed. */
  changed(): void {
    if (this.#isGathering || this.#subscribers.size === 0) return;
    this.#isGathering = true;
    this.#clock.after(GATHER_MS, () => {
      this.#isGathering = false;
      this.#tell();
    });
  }

  close(): void {
    this.#unsubscribe();
    for (const response of this.#subscribers.keys()) response.end();
  }

  #tell(): void {
    if (this.#subscribers.size === 0 || this.#told === undefined) return;
    const facts = this.#state.facts();
    for (const event of differences(this.#told, facts)) this.#send(record(event));
    this.#told = toldOf(facts);
  }

  #send(bytes: Buffer): void {
    for (const [response, remote] of this.#subscribers) {
      if (response.writableLength <= MAX_QUEUED_BYTES) response.write(bytes);
      else {
        this.#log.info('A subscriber of the operator API is too slow and is dropped', { remote });
        response.destroy();
      }
    }
  }

  #beat(): void {
    if (this.#isBeating || this.#subscribers.size === 0) return;
    this.#isBeating = true;
    this.#clock.after(HEARTBEAT_S * 1000, () => {
      this.#isBeating = false;
      // Whether an agent is reached may change without any record of a task.
      this.#tell();
      this.#send(record({ type: 'HEARTBEAT' }));
      this.#beat();
    });
  }
}

export function record(event: object): Buffer {
  const json = Buffer.from(JSON.stringify(event));
  return Buffer.concat([Buffer.from(`${json.length}\n`), json]);
}

export function toldOf(facts: ClusterFacts): Told {
  const tasks = [...facts.tasks, ...facts.completed];
  return {
    tasks: new Map(tasks.map((task) => [task.id, { task, mark: markOf(task) }])),
    agents: new Map(facts.agents.map((agent) => [agent.id, agent.reachable])),
    frameworks: new Set(frameworkNames(facts)),
  };
}

/** What of a task its consumers are told of. */
const markOf = (task: TaskFacts): string => `${stateOf(task)} ${task.task.healthy ?? ''}`;

/** Agents and frameworks come before the tasks that name them, and go after them. */
export function differences(before: Told, facts: ClusterFacts): object[] {
  const events: object[] = [];
  for (const agent of facts.agents)
    if (agent.reachable && before.agents.get(agent.id) !== true)
      events.push({ type: 'AGENT_ADDED', agent_added: { agent: operatorAgent(agent, facts) } });
  for (const name of frameworkNames(facts))
    if (!before.frameworks.has(name))
      events.push({
        type: 'FRAMEWORK_ADDED',
        framework_added: { framework: operatorFramework(name, facts) },
      });
  events.push(...taskDifferences(before, facts));
  const now = new Map(facts.agents.map((agent) => [agent.id as string, agent.reachable]));
  for (const [id, wasReachable] of before.agents)
    if (wasReachable && now.get(id) !== true)
      events.push({ type: 'AGENT_REMOVED', agent_removed: { agent_id: { value: id } } });
  return events;
}

function taskDifferences(before: Told, facts: ClusterFacts): object[] {
  const updated = (task: TaskFacts, state: TaskState, status: object): object => {
    const framework_id = { value: frameworkId(facts, task.task.framework) };
    return { type: 'TASK_UPDATED', task_updated: { framework_id, status, state } };
  };
  const now = [...facts.tasks, ...facts.completed];
  const events = now.flatMap((task) => {
    const told = before.tasks.get(task.id);
    if (told === undefined) return [{ type: 'TASK_ADDED', task_added: { task: operatorTask(task, facts) } }];
    return told.mark === markOf(task) ? [] : [updated(task, stateOf(task), operatorStatus(task))];
  });
  const ids = new Set(now.map((task) => task.id));
  for (const [id, { task }] of before.tasks) {
    if (ids.has(id) || isTerminal(task.task.state)) continue;
    // Its record is gone, with its agent or its container: nobody will tell how it ended.
    const status = { ...operatorStatus(task), state: 'TASK_GONE' };
    events.push(updated(task, 'TASK_GONE', status));
  }
  return events;
}
