/**
 * Asking the masters, all the time, what shall run here: a long poll, so that a new launch is heard of at once.
 *
 * Invariants: a list counts when it is on disk; without a master the last list counts on; one request at a time.
 */
import { describeError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import { sleep } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { parseTarget, type Answer, type HttpTarget, type RequestInit } from '../../http/client.ts';
import { answered } from '../../http/errors.ts';
import { TASKS_PATH, tasksAnswer, type TaskLaunch } from '../../model/task.ts';

const WAIT_MS = 30_000;
/** Beyond the wait that was asked for. */
const ANSWER_TIMEOUT_MS = 10_000;
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 5_000;

export interface AssignmentsComponents {
  readonly clock: Clock;
  readonly log: Log;
  /** Over this node's TLS to masters. */
  readonly request: (target: HttpTarget, init: RequestInit) => Promise<Answer>;
}

export interface AssignmentsInit {
  readonly node: string;
  /** `host:port` of the masters as known now. */
  masters(): readonly string[];
  /** Of the list that is on disk. */
  revision(): string | undefined;
  /** Resolves when it is on disk. */
  onList(revision: string, launches: readonly TaskLaunch[], wipe: readonly string[]): Promise<void>;
}

export class Assignments {
  readonly #components: AssignmentsComponents;
  readonly #init: AssignmentsInit;
  readonly #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #master = 0;
  #said: string | undefined;

  constructor(components: AssignmentsComponents, init: AssignmentsInit) {
    this.#components = components;
    this.#init = init;
  }

  start(): void {
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.#abort.abort(new Error('the agent is ending'));
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { signal } = this.#abort;
    let delayMs = FIRST_RETRY_MS;
    while (!signal.aborted)
      try {
        await this.#ask(signal);
        delayMs = FIRST_RETRY_MS;
        this.#said = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#note(error);
        this.#master += 1;
        await sleep(delayMs, signal).catch(() => undefined);
        delayMs = Math.min(2 * delayMs, MAX_RETRY_MS);
      }
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const masters = this.#init.masters();
    const master = masters[this.#master % masters.length];
    if (master === undefined) throw new Error('no master is known');
    const have = this.#init.revision();
    const answer = await this.#components.request(parseTarget(master), {
      method: 'POST',
      path: TASKS_PATH,
      body: { node: this.#init.node, wait_ms: WAIT_MS, ...(have === undefined ? {} : { have }) },
      timeoutMs: WAIT_MS + ANSWER_TIMEOUT_MS,
      signal,
    });
    const { revision, tasks, wipe } = tasksAnswer.parse(answered(answer));
    if (tasks !== undefined) await this.#init.onList(revision, tasks, wipe);
  }

  /** An absent master must not fill the log. */
  #note(error: unknown): void {
    const text = describeError(error);
    if (text !== this.#said) this.#components.log.warn('Cannot ask a master for tasks', { error: text });
    this.#said = text;
  }
}
