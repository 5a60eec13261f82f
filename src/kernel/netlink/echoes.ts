/**
 * Which forwarding entries we have just written, so that their notifications are known as our own.
 *
 * Everywhere else the notification carries the writer's port id; the VXLAN driver sends port 0 (vxlan_core.c,
 * vxlan_fdb_notify). An expectation that never comes true (the entry was there already, so nothing was announced)
 * can only make a later, equal and therefore harmless write by somebody else look like ours.
 */
import type { FdbEntry } from '../types.ts';

/** Past this the oldest expectations are given up: their echoes would count as foreign, which costs one extra look. */
const MAX_EXPECTED = 65_536;

export class FdbEchoes {
  readonly #expected = new Map<string, number>();
  /** Monitors that are open; without one nobody asks. */
  #monitors = 0;

  get active(): boolean {
    return this.#monitors > 0;
  }

  opened(): void {
    this.#monitors++;
  }

  closed(): void {
    this.#monitors--;
    if (this.#monitors === 0) this.#expected.clear();
  }

  expect(change: 'new' | 'delete', entry: FdbEntry): void {
    const key = keyOf(change, entry);
    this.#expected.set(key, (this.#expected.get(key) ?? 0) + 1);
    if (this.#expected.size <= MAX_EXPECTED) return;
    const oldest = this.#expected.keys().next();
    if (oldest.done !== true) this.#expected.delete(oldest.value);
  }

  /** True, once per expectation, when this change is ours. */
  recognise(change: 'new' | 'delete', entry: FdbEntry): boolean {
    const key = keyOf(change, entry);
    const count = this.#expected.get(key);
    if (count === undefined) return false;
    if (count === 1) this.#expected.delete(key);
    else this.#expected.set(key, count - 1);
    return true;
  }

  /** After an overrun nobody knows which echoes were lost. */
  forget(): void {
    this.#expected.clear();
  }
}

function keyOf(change: 'new' | 'delete', entry: FdbEntry): string {
  return `${change} ${entry.link} ${entry.mac} ${String(entry.destination)}`;
}
