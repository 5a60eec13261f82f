/**
 * The masters' store: revisioned keys and values with compare-and-set, watch and one revision number.
 *
 * Invariants: a transaction that was answered is durable and survives `kill -9`; revisions rise by one per
 * transaction that changed something; watchers see every change once, in order.
 */

export interface StoreEntry {
  readonly key: string;
  /** JSON text. */
  readonly value: string;
  /** Revision of the transaction that wrote it last. */
  readonly revision: number;
}

/** `revision` 0 = the key must not exist. */
export interface StoreCondition {
  readonly key: string;
  readonly revision: number;
}

export type StoreOperation =
  | { readonly do: 'put'; readonly key: string; readonly value: string }
  | { readonly do: 'delete'; readonly key: string };

export type StoreOutcome =
  | { readonly ok: true; readonly revision: number }
  /** Some condition did not hold; nothing was written. */
  | { readonly ok: false; readonly revision: number };

export interface StoreChange {
  readonly key: string;
  /** `undefined` = deleted. */
  readonly value: string | undefined;
  readonly revision: number;
}

export interface StoreWatch {
  close(): void;
}

export interface Store {
  get(key: string): Promise<StoreEntry | undefined>;
  /** Entries whose key starts with `prefix`, in key order, all as of `revision`. */
  range(prefix: string): Promise<{ readonly entries: readonly StoreEntry[]; readonly revision: number }>;
  /** All or nothing; resolves only when durable. */
  transact(
    conditions: readonly StoreCondition[],
    operations: readonly StoreOperation[],
  ): Promise<StoreOutcome>;
  /** Calls back after each transaction that touched a key under `prefix`. */
  watch(prefix: string, onChanges: (changes: readonly StoreChange[]) => void): StoreWatch;
  close(): Promise<void>;
}

/**
 * A small durable map for one daemon's own state, in one checksummed append-only file.
 *
 * Opening a damaged file rejects with a `PortolanError` 'corrupt' that says what is lost and how to recover; a torn
 * last line (power loss during an append that was never acknowledged) is cut off and logged.
 */
export interface Journal {
  get(key: string): unknown;
  entries(prefix: string): Iterable<readonly [key: string, value: unknown]>;
  /** Applies to memory at once; resolves when on disk. Writes of one turn share one fdatasync. `undefined` deletes. */
  write(changes: Readonly<Record<string, unknown>>): Promise<void>;
  /** The same without waiting for the disk: for what others can tell us again. */
  writeLazily(changes: Readonly<Record<string, unknown>>): void;
  close(): Promise<void>;
}
