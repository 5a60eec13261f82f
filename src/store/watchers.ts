/** Who is told of which changes: once, in order, after they are durable. */
import type { Log } from '../base/log.ts';
import type { StoreChange, StoreWatch } from './types.ts';

export class Watchers {
  readonly #log: Log;
  readonly #watches = new Set<{ prefix: string; onChanges: (changes: readonly StoreChange[]) => void }>();

  constructor(components: { readonly log: Log }) {
    this.#log = components.log;
  }

  add(prefix: string, onChanges: (changes: readonly StoreChange[]) => void): StoreWatch {
    const watch = { prefix, onChanges };
    this.#watches.add(watch);
    return { close: () => void this.#watches.delete(watch) };
  }

  /** The changes of one transaction. A watcher that throws does not keep the others from hearing. */
  tell(changes: readonly StoreChange[]): void {
    for (const { prefix, onChanges } of [...this.#watches]) {
      const mine = changes.filter(({ key }) => key.startsWith(prefix));
      if (mine.length === 0) continue;
      try {
        onChanges(mine);
      } catch (error) {
        this.#log.error('A store watcher failed', { prefix, error });
      }
    }
  }

  clear(): void {
    this.#watches.clear();
  }
}
