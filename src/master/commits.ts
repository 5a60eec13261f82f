/**
 * The queue before the store: one commit at a time, everything that waits goes into the next (reference "overlay
 * network", section 4: "Queue of operations").
 *
 * Invariants: operations reach the store in the order they were queued; `commit` resolves only when they are durable,
 * and so does one without operations for all that were queued before it. Every commit carries the epoch key as a
 * compare-and-set condition, so a second writer makes ours fail instead of mixing with it.
 * After a failure the queue is broken for good: what memory holds and what the store holds may differ.
 */
import { PortolanError } from '../base/errors.ts';
import type { Store, StoreOperation, StoreOutcome } from '../store/types.ts';
import { storeKeys } from './stored.ts';

const MAX_WAITING = 10_000;
/** Operations per transaction: keeps each under a few milliseconds. */
const MAX_OPERATIONS = 4096;

export interface CommitQueueInit {
  /** The key that every commit writes; the registry's when absent. */
  readonly epochKey?: string;
  /** Revision of the epoch key as recovered; 0 when there is none. */
  readonly epochRevision: number;
  /** The epoch to store with the next commit. */
  readonly epoch: () => number;
  readonly onFailure: (error: unknown) => void;
}

interface Waiting {
  readonly operations: readonly StoreOperation[];
  resolve(revision: number): void;
  reject(error: unknown): void;
}

export class CommitQueue {
  readonly #store: Store;
  readonly #init: CommitQueueInit;
  #epochRevision: number;
  #revision = 0;
  #waiting: Waiting[] = [];
  #running = false;
  #failure: PortolanError | undefined;

  constructor(components: { readonly store: Store }, init: CommitQueueInit) {
    this.#store = components.store;
    this.#init = init;
    this.#epochRevision = init.epochRevision;
  }

  /** Resolves to the revision that made `operations` durable. */
  commit(operations: readonly StoreOperation[]): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (operations.length === 0 && !this.#running) return Promise.resolve(this.#revision);
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // One microtask, so that all of one turn go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        const revision = await this.#write(group.flatMap(({ operations }) => operations));
        for (const { resolve } of group) resolve(revision);
      } catch (error) {
        this.#fail(group, error);
      }
    }
    this.#running = false;
  }

  #takeGroup(): readonly Waiting[] {
    let operations = 0;
    let count = 0;
    for (const each of this.#waiting) {
      operations += each.operations.length;
      if (count > 0 && operations > MAX_OPERATIONS) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #write(operations: readonly StoreOperation[]): Promise<number> {
    if (operations.length === 0) return this.#revision;
    const key = this.#init.epochKey ?? storeKeys.epoch;
    const outcome: StoreOutcome = await this.#store.transact(
      [{ key, revision: this.#epochRevision }],
      [...operations, { do: 'put', key, value: JSON.stringify({ epoch: this.#init.epoch() }) }],
    );
    if (!outcome.ok) throw new Error('another master wrote to the store');
    this.#epochRevision = outcome.revision;
    this.#revision = outcome.revision;
    return outcome.revision;
  }

  #fail(group: readonly Waiting[], cause: unknown): void {
    this.#failure = new PortolanError('unavailable', 'Cannot commit to the store', {
      remedy: 'try again in a second; see the log of the master when it lasts',
      cause,
    });
    const all = [...group, ...this.#waiting];
    this.#waiting = [];
    for (const { reject } of all) reject(this.#failure);
    this.#init.onFailure(cause);
  }
}

function busy(): PortolanError {
  return new PortolanError('unavailable', `Cannot queue another change: ${MAX_WAITING} are waiting`, {
    remedy: 'try again in a second',
  });
}
