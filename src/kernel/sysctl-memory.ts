/**
 * Sysctls set for as long as we need them, and put back when we leave.
 *
 * Invariants: what a sysctl was before we first changed it is on disk before the change; it is remembered once, so
 * that a second run, or a run after a crash, never takes our own value for the original; restoring leaves alone what
 * somebody else has set since.
 */
import { sysctlKey } from './sysctl.ts';
import type { NetworkNamespace } from './types.ts';

const PREFIX = 'sysctl/';

interface Memory {
  readonly before: string;
  readonly ours: string;
}

export type SysctlStore = Pick<NetworkNamespace, 'readSysctl' | 'writeSysctl'>;

/** What it needs of the daemon's journal (store/types.ts); `undefined` deletes. */
export interface SysctlJournal {
  get(key: string): unknown;
  entries(prefix: string): Iterable<readonly [key: string, value: unknown]>;
  write(changes: Readonly<Record<string, unknown>>): Promise<void>;
}

export class SysctlMemory {
  readonly #namespace: SysctlStore;
  readonly #journal: SysctlJournal;

  constructor(components: { readonly namespace: SysctlStore; readonly journal: SysctlJournal }) {
    this.#namespace = components.namespace;
    this.#journal = components.journal;
  }

  /** Makes the sysctls as given; answers the keys that it had to change. Keys that do not exist are left out. */
  async ensure(values: Readonly<Record<string, string>>): Promise<readonly string[]> {
    const wrong: { readonly key: string; readonly value: string; readonly before: string }[] = [];
    for (const [key, value] of Object.entries(values)) {
      const before = await this.#namespace.readSysctl(key);
      if (before !== undefined && before !== value) wrong.push({ key: sysctlKey(key), value, before });
    }
    if (wrong.length === 0) return [];
    await this.#journal.write(
      Object.fromEntries(
        wrong.map(({ key, value, before }) => [PREFIX + key, this.#memory(key, value, before)] as const),
      ),
    );
    for (const { key, value } of wrong) await this.#namespace.writeSysctl(key, value);
    return wrong.map(({ key }) => key);
  }

  /** Puts back every remembered sysctl that still has our value, and forgets them all; answers the keys put back. */
  async restore(): Promise<readonly string[]> {
    const restored: string[] = [];
    const forgotten: Record<string, undefined> = {};
    for (const [name, value] of [...this.#journal.entries(PREFIX)]) {
      const key = name.slice(PREFIX.length);
      forgotten[name] = undefined;
      if (!isMemory(value) || (await this.#namespace.readSysctl(key)) !== value.ours) continue;
      await this.#namespace.writeSysctl(key, value.before);
      restored.push(key);
    }
    await this.#journal.write(forgotten);
    return restored;
  }

  #memory(key: string, ours: string, before: string): Memory {
    const known = this.#journal.get(PREFIX + key);
    return { before: isMemory(known) ? known.before : before, ours };
  }
}

function isMemory(value: unknown): value is Memory {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Partial<Memory>).before === 'string' &&
    typeof (value as Partial<Memory>).ours === 'string'
  );
}
