/**
 * What one agent is asked: whether it has records in its kernel. One question at a time, of all that are wanted by then, so
 * that a thousand tasks that drain together cost every agent a few questions and not a thousand.
 *
 * Invariants: an agent that becomes unreachable is not waited for; one that is reachable but does not answer is waited for
 * until the time that each caller gives, and named in the log.
 */
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { NodeId } from '../../model/names.ts';

/** Of one question; what is beyond goes into the next. */
export const MAX_ASKED = 1000;
/** Seconds that an agent may wait before it answers for what it has not applied. */
const ASK_S = 2;
/** Tasks come in crowds. */
const GATHER_MS = 10;
const AGAIN_MS = 100;

export interface DrainingAgent {
  readonly node: NodeId;
  readonly name: string;
  readonly address: string;
  readonly apiPort: number;
}

export interface AskedRecord {
  readonly key: string;
  readonly epoch: number;
  readonly sequence: number;
}

/** Which of the records the agent has applied, as it says itself: in their order. */
export type AskApplied = (
  agent: DrainingAgent,
  question: { readonly records: readonly AskedRecord[]; readonly wait: number },
  signal: AbortSignal,
) => Promise<readonly boolean[]>;

export interface AgentAskerComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly ask: AskApplied;
  readonly isReachable: (node: NodeId) => boolean;
}

interface Wanted {
  readonly record: AskedRecord;
  readonly untilMs: number;
  readonly end: () => void;
}

export class AgentAsker {
  readonly #components: AgentAskerComponents;
  readonly #abort = new AbortController();
  readonly #wanted = new Set<Wanted>();
  #agent: DrainingAgent;
  #isAsking = false;

  constructor(components: AgentAskerComponents, agent: DrainingAgent) {
    this.#components = components;
    this.#agent = agent;
  }

  /** Nobody waits for it. */
  get isIdle(): boolean {
    return !this.#isAsking;
  }

  /** Resolves when the agent has applied the record, or is not to be waited for any more. */
  applied(agent: DrainingAgent, record: AskedRecord, untilMs: number, signal: AbortSignal): Promise<void> {
    this.#agent = agent;
    return new Promise((resolve) => {
      const end = (): void => {
        this.#wanted.delete(wanted);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const wanted: Wanted = { record, untilMs, end };
      this.#wanted.add(wanted);
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
      else if (!this.#isAsking) void this.#run();
    });
  }

  close(): void {
    this.#abort.abort();
    for (const { end } of this.#wanted) end();
  }

  async #run(): Promise<void> {
    this.#isAsking = true;
    await this.#pause(GATHER_MS);
    while (this.#wanted.size > 0) {
      if (this.#components.isReachable(this.#agent.node)) await this.#ask();
      else for (const { end } of this.#wanted) end();
      if (this.#wanted.size > 0) await this.#pause(AGAIN_MS);
    }
    this.#isAsking = false;
  }

  async #ask(): Promise<void> {
    const { ask, clock } = this.#components;
    const asked = [...this.#wanted].slice(0, MAX_ASKED);
    let said = 'it has not applied it';
    try {
      const records = asked.map(({ record }) => record);
      const applied = await ask(this.#agent, { records, wait: ASK_S }, this.#abort.signal);
      for (const [i, each] of asked.entries()) if (applied[i] === true) each.end();
    } catch (error) {
      said = describeError(error);
    }
    for (const each of asked)
      if (this.#wanted.has(each) && clock.nowMs() >= each.untilMs) this.#giveUp(each, said);
  }

  #giveUp({ record, end }: Wanted, error: string): void {
    this.#components.log.warn('An agent does not withdraw a task that is about to end', {
      ...{ agent: this.#agent.name, record: record.key, error },
    });
    end();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#components.clock.after(ms, resolve));
  }
}
