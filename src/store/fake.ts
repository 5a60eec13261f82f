/**
 * The store in memory, with a disk that survives crashes: for tests and simulation.
 *
 * A transaction is decided at once and becomes durable a turn later, as on the real one. `crash` loses what no caller
 * was told of, except the first `survivors` transactions, which had reached the disk without being acknowledged.
 */
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { changesOf, checkOperations, conditionsHold } from './transaction.ts';
import { Watchers } from './watchers.ts';
import type {
  Store,
  StoreChange,
  StoreCondition,
  StoreEntry,
  StoreOperation,
  StoreOutcome,
  StoreWatch,
} from './types.ts';

/** What is on disk: hand it to the next `FakeStore` to restart. */
export class FakeDisk {
  entries: ReadonlyMap<string, StoreEntry> = new Map();
  revision = 0;
}

interface Pending {
  readonly changes: readonly StoreChange[];
  resolve(): void;
  reject(error: Error): void;
}

export class FakeStore implements Store {
  readonly #disk: FakeDisk;
  readonly #watchers: Watchers;
  readonly #entries: Map<string, StoreEntry>;
  #revision: number;
  #pending: Pending[] = [];
  #flushing = false;
  #closed: string | undefined;
  #failures = 0;
  #readFailures = 0;
  /** Commits so far: how many transactions shared one is the point of some tests. */
  commits = 0;

  constructor(components: { readonly log: Log }, init: { readonly disk: FakeDisk }) {
    this.#disk = init.disk;
    this.#watchers = new Watchers(components);
    this.#entries = new Map(init.disk.entries);
    this.#revision = init.disk.revision;
  }

  /** The next `count` commits fail, as on a full disk. */
  failCommits(count: number): void {
    this.#failures = count;
  }

  /** The next `count` reads fail. */
  failReads(count: number): void {
    this.#readFailures = count;
  }

  crash(survivors = 0): void {
    this.#closed = 'crashed';
    const kept = this.#pending.slice(0, survivors);
    this.#persist(kept);
    const error = new PortolanError('unavailable', 'Cannot commit: the store crashed');
    for (const { reject } of this.#pending) reject(error);
    this.#pending = [];
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    await this.#checkRead();
    return this.#disk.entries.get(key);
  }

  async range(prefix: string): Promise<{ entries: readonly StoreEntry[]; revision: number }> {
    await this.#checkRead();
    const entries = [...this.#disk.entries.values()].filter(({ key }) => key.startsWith(prefix));
    return {
      entries: entries.sort((a, b) => (a.key < b.key ? -1 : 1)),
      revision: this.#disk.revision,
    };
  }

  async transact(
    conditions: readonly StoreCondition[],
    operations: readonly StoreOperation[],
  ): Promise<StoreOutcome> {
    await this.#check();
    checkOperations(operations);
    if (!conditionsHold(conditions, (key) => this.#entries.get(key)))
      return { ok: false, revision: this.#revision };
    const changes = changesOf(operations, this.#revision + 1, (key) => this.#entries.has(key));
    if (changes.length === 0) return { ok: true, revision: this.#revision };
    const revision = ++this.#revision;
    apply(this.#entries, changes);
    await this.#durable(changes);
    return { ok: true, revision };
  }

  watch(prefix: string, onChanges: (changes: readonly StoreChange[]) => void): StoreWatch {
    return this.#watchers.add(prefix, onChanges);
  }

  async close(): Promise<void> {
    while (this.#flushing) await turn();
    this.#closed ??= 'closed';
    this.#watchers.clear();
  }

  #check(): Promise<void> {
    if (this.#closed === undefined) return Promise.resolve();
    return Promise.reject(new PortolanError('unavailable', `Cannot use the store: it is ${this.#closed}`));
  }

  async #checkRead(): Promise<void> {
    await this.#check();
    if (this.#readFailures === 0) return;
    this.#readFailures -= 1;
    throw new Error('EIO: i/o error');
  }

  #durable(changes: readonly StoreChange[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ changes, resolve, reject });
      if (!this.#flushing) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    this.#flushing = true;
    while (this.#pending.length > 0) {
      await turn();
      if (this.#closed === 'crashed') break;
      this.#commit();
    }
    this.#flushing = false;
  }

  #commit(): void {
    const group = this.#pending;
    this.#pending = [];
    if (this.#failures > 0) {
      this.#failures -= 1;
      this.#forget();
      for (const { reject } of group) reject(new Error('ENOSPC: no space left on device'));
      return;
    }
    this.commits += 1;
    this.#persist(group);
    for (const { changes, resolve } of group) {
      this.#watchers.tell(changes);
      resolve();
    }
  }

  #persist(group: readonly Pending[]): void {
    const entries = new Map(this.#disk.entries);
    for (const { changes } of group) {
      apply(entries, changes);
      this.#disk.revision = changes[0]?.revision ?? this.#disk.revision;
    }
    this.#disk.entries = entries;
  }

  #forget(): void {
    this.#entries.clear();
    for (const [key, entry] of this.#disk.entries) this.#entries.set(key, entry);
    this.#revision = this.#disk.revision;
  }
}

function apply(entries: Map<string, StoreEntry>, changes: readonly StoreChange[]): void {
  for (const { key, value, revision } of changes) {
    if (value === undefined) entries.delete(key);
    else entries.set(key, { key, value, revision });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
