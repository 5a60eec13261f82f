/**
 * The store in the master's own process: an LMDB environment in a directory (docs/adr/0005-embedded-store.md).
 *
 * Purpose: `Store` for a cluster with one master, durable through `kill -9` and power loss.
 * Invariants: a transaction resolves after fsync (`overlappingSync` off: LMDB would otherwise answer before the disk
 * has it); transactions of one turn share one commit; one process has the directory; every value carries a checksum.
 * Review notes: condition checks and writes of a transaction run inside LMDB's write transaction, so there is no
 * window between them. A commit that fails rejects every transaction in it, and their revisions may be used again.
 */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { decodeEntry, encodeEntry } from './checksum.ts';
import { lockFile, type FileLock } from './file-lock.ts';
import { checkLmdbFile, damaged } from './lmdb-file.ts';
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

export interface EmbeddedStoreComponents {
  readonly log: Log;
}

const FORMAT = '1';

export async function openEmbeddedStore(
  components: EmbeddedStoreComponents,
  init: { readonly dir: string },
): Promise<Store> {
  const dir = resolve(init.dir);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const lock = await lockFile(join(dir, 'store.lock'));
  try {
    await checkLmdbFile(dir);
    return openDatabases(components, dir, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

function openDatabases({ log }: EmbeddedStoreComponents, dir: string, lock: FileLock): Store {
  try {
    const root = open({ path: dir, noSubdir: false, overlappingSync: false, maxDbs: 2, encoding: 'string' });
    const meta: Database<string, string> = root.openDB({ name: 'meta', encoding: 'string' });
    const entries: Database<string, string> = root.openDB({ name: 'entries', encoding: 'string' });
    const format = meta.get('format');
    if (format !== undefined && format !== FORMAT)
      throw new PortolanError('invalid', `Cannot open the store "${dir}": its format is ${format}`, {
        field: 'state_dir',
        remedy: 'use the version of Portolan that wrote it, or a newer one',
      });
    if (format === undefined) meta.putSync('format', FORMAT);
    return new EmbeddedStore(log, root, meta, entries, lock, dir);
  } catch (error) {
    throw translate(error, dir);
  }
}

/** LMDB's own complaints about its pages become 'corrupt'. */
function translate(error: unknown, dir: string): unknown {
  const text = error instanceof Error ? error.message : String(error);
  return /MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID|PANIC|VERSION_MISMATCH|BAD_)/.test(text)
    ? damaged(join(dir, 'data.mdb'), text, error)
    : error;
}

class EmbeddedStore implements Store {
  readonly #root: RootDatabase;
  readonly #meta: Database<string, string>;
  readonly #entries: Database<string, string>;
  readonly #lock: FileLock;
  readonly #dir: string;
  readonly #watchers: Watchers;
  /** Changes that are in LMDB's hands and not yet durable, in order of revision. */
  #pending: { readonly revision: number; readonly changes: readonly StoreChange[] }[] = [];
  #closed = false;

  constructor(
    log: Log,
    root: RootDatabase,
    meta: Database<string, string>,
    entries: Database<string, string>,
    lock: FileLock,
    dir: string,
  ) {
    this.#root = root;
    this.#meta = meta;
    this.#entries = entries;
    this.#lock = lock;
    this.#dir = dir;
    this.#watchers = new Watchers({ log });
  }

  get(key: string): Promise<StoreEntry | undefined> {
    return this.#guarded(() => this.#find(key));
  }

  range(prefix: string): Promise<{ entries: readonly StoreEntry[]; revision: number }> {
    return this.#guarded(() => {
      // Keys are ASCII, so nothing that starts with the prefix sorts behind this end.
      const found = this.#entries.getRange({ start: prefix, end: `${prefix}\u{7f}` });
      const entries = Array.from(found, ({ key, value }) => decodeEntry(key, value));
      return { entries, revision: this.#revision() };
    });
  }

  transact(
    conditions: readonly StoreCondition[],
    operations: readonly StoreOperation[],
  ): Promise<StoreOutcome> {
    return this.#guarded(async () => {
      checkOperations(operations);
      // A child transaction, since LMDB's group commit would keep the first half of one that throws.
      const outcome = await this.#root.childTransaction(() => this.#write(conditions, operations));
      this.#tellUpTo(outcome.revision);
      return outcome;
    });
  }

  watch(prefix: string, onChanges: (changes: readonly StoreChange[]) => void): StoreWatch {
    return this.#watchers.add(prefix, onChanges);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watchers.clear();
    await this.#root.close();
    await this.#lock.release();
  }

  /** Runs inside LMDB's write transaction. */
  #write(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): StoreOutcome {
    const before = this.#revision();
    if (!conditionsHold(conditions, (key) => this.#find(key))) return { ok: false, revision: before };
    const revision = before + 1;
    const changes = changesOf(operations, revision, (key) => this.#entries.get(key) !== undefined);
    if (changes.length === 0) return { ok: true, revision: before };
    for (const { key, value } of changes) {
      if (value === undefined) void this.#entries.remove(key);
      else void this.#entries.put(key, encodeEntry({ key, value, revision }));
    }
    void this.#meta.put('revision', String(revision));
    this.#pending = [...this.#pending.filter((each) => each.revision < revision), { revision, changes }];
    return { ok: true, revision };
  }

  /** Commits are in order of revision: when one is durable, so is every lower one. */
  #tellUpTo(revision: number): void {
    const durable = this.#pending.filter((each) => each.revision <= revision);
    this.#pending = this.#pending.filter((each) => each.revision > revision);
    for (const { changes } of durable) this.#watchers.tell(changes);
  }

  #find(key: string): StoreEntry | undefined {
    const frame = this.#entries.get(key);
    return frame === undefined ? undefined : decodeEntry(key, frame);
  }

  #revision(): number {
    return Number(this.#meta.get('revision') ?? '0');
  }

  async #guarded<T>(action: () => T | Promise<T>): Promise<T> {
    if (this.#closed) throw new PortolanError('unavailable', 'Cannot use the store: it is closed');
    try {
      return await action();
    } catch (error) {
      throw translate(error, this.#dir);
    }
  }
}
