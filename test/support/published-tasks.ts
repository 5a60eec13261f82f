/** The records that one agent publishes of its tasks, without an exchange. */
import type { NodeId } from '../../src/model/names.ts';
import type { TaskRecord } from '../../src/model/task.ts';
import type { RecordExchange } from '../../src/node/record-exchange.ts';

export class PublishedTasks {
  readonly node = 'n1' as NodeId;
  readonly #records = new Map<string, TaskRecord>();

  readonly exchange = {
    publish: (key: string, value: unknown) => {
      this.#records.set(key, value as TaskRecord);
      return Promise.resolve();
    },
    withdraw: (key: string) => {
      this.#records.delete(key);
      return Promise.resolve();
    },
    records: (prefix: string) =>
      [...this.#records].filter(([key]) => key.startsWith(prefix)).map(([key, value]) => ({ key, value })),
  } as unknown as RecordExchange;

  told(task: string): TaskRecord | undefined {
    return this.#records.get(`node/${this.node}/task/${task}`);
  }
}
