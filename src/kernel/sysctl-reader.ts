/**
 * Reads the same sysctls again and again, as every round of reconciliation does: their files stay open, and reading one
 * again costs one system call instead of eight (in and out of the namespace, open, look, read, close).
 *
 * Invariants: an open file shows the namespace and the device that it was opened for; when that device is gone, the
 * kernel refuses to read it, and the path is opened anew.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { NamespaceHandle } from './netns.ts';
import { readSysctlHere, sysctlKey, sysctlPath } from './sysctl.ts';

/** What does not fit is read as others read it. */
const MAX_OPEN = 256;
/** Longer values are not kept open either. */
const VALUE_BYTES = 256;

export class SysctlReader {
  readonly #handle: NamespaceHandle;
  readonly #open = new Map<string, number>();
  readonly #buffer = Buffer.alloc(VALUE_BYTES);

  constructor(components: { readonly handle: NamespaceHandle }) {
    this.#handle = components.handle;
  }

  /** `undefined` when there is no such sysctl. */
  read(key: string): string | undefined {
    const known = this.#open.get(key);
    if (known !== undefined) {
      const value = this.#again(known);
      if (value !== undefined) return value;
      closeSync(known);
      this.#open.delete(key);
    }
    return this.#handle.within(() => this.#first(key));
  }

  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  #first(key: string): string | undefined {
    const value = readSysctlHere(key);
    if (value === undefined || value.length >= VALUE_BYTES || this.#open.size >= MAX_OPEN) return value;
    try {
      this.#open.set(key, openSync(sysctlPath(sysctlKey(key)), 'r'));
    } catch {
      // Gone in this very moment: the next reading says so.
    }
    return value;
  }

  /** `undefined` when the file shows nothing any more. */
  #again(fd: number): string | undefined {
    try {
      const length = readSync(fd, this.#buffer, 0, VALUE_BYTES, 0);
      return length === 0 || length === VALUE_BYTES
        ? undefined
        : this.#buffer.toString('utf8', 0, length).trimEnd();
    } catch {
      return undefined; // Its device is gone; whether there is another one, the path says.
    }
  }
}
