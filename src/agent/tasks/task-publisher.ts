/**
 * Telling everybody of this node's tasks: one record each, changes gathered for a moment, since tasks come in crowds.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { NodeId } from '../../model/names.ts';
import type { RecordValue } from '../../model/record.ts';
import { resourcesKey, taskKey, type ResourcesRecord, type TaskRecord } from '../../model/task.ts';
import type { RecordExchange } from '../../node/record-exchange.ts';

const GATHER_MS = 5;

export class TaskPublisher {
  readonly #exchange: RecordExchange;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #node: NodeId;
  /** To be published, or withdrawn where `undefined`. */
  readonly #pending = new Map<string, RecordValue | undefined>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(
    components: { readonly exchange: RecordExchange; readonly clock: Clock; readonly log: Log },
    init: { readonly node: NodeId },
  ) {
    this.#exchange = components.exchange;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#node = init.node;
  }

  /** Withdraws what an earlier life of the agent said of tasks that are not known any more. */
  begin(known: ReadonlySet<string>): void {
    const prefix = taskKey(this.#node, '');
    for (const record of [...this.#exchange.records(prefix)])
      if (record.value !== null && !known.has(record.key.slice(prefix.length)))
        this.#put(record.key, undefined);
  }

  task(record: TaskRecord): void {
    this.#put(taskKey(this.#node, record.id), plain(record));
  }

  withdrawTask(id: string): void {
    this.#put(taskKey(this.#node, id), undefined);
  }

  resources(record: ResourcesRecord): void {
    this.#put(resourcesKey(this.#node), plain(record));
  }

  close(): void {
    this.#timer?.cancel();
    this.#flush();
    this.#closed = true;
  }

  #put(key: string, value: RecordValue | undefined): void {
    if (this.#closed) return;
    this.#pending.set(key, value);
    this.#timer ??= this.#clock.after(GATHER_MS, () => this.#flush());
  }

  #flush(): void {
    this.#timer = undefined;
    for (const [key, value] of this.#pending) {
      const done = value === undefined ? this.#exchange.withdraw(key) : this.#exchange.publish(key, value);
      done.catch((error: unknown) => this.#log.warn('Cannot publish of a task', { key, error }));
    }
    this.#pending.clear();
  }
}

/** Without `undefined` members, as JSON has it. */
function plain(value: object): RecordValue {
  return JSON.parse(JSON.stringify(value)) as RecordValue;
}
