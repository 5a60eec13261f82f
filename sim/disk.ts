/**
 * A disk in memory behind the journal's interface: what was not synced is lost in a crash, or all of it.
 *
 * Values are kept as they are, not as text: what a node writes it does not change afterwards. `base` is shared content
 * that every disk starts with, so that a thousand preloaded nodes hold it once.
 */
import type { Random } from '../src/base/random.ts';
import { randomBelow } from '../src/base/random.ts';
import type { Timeline } from '../src/base/timeline.ts';
import type { Journal } from '../src/store/types.ts';

const SYNC_MS = 1;
/** As the real journal does with what others can tell again. */
const LAZY_SYNC_MS = 200;

type Changes = Readonly<Record<string, unknown>>;

export interface DiskImage {
  readonly base: ReadonlyMap<string, unknown>;
  readonly content: ReadonlyMap<string, unknown>;
}

export class Disk {
  #base: ReadonlyMap<string, unknown>;
  /** Over the base; a deleted key has the value `undefined`. */
  #content = new Map<string, unknown>();
  #unsynced: Changes[] = [];
  #waiting: (() => void)[] = [];
  /** Rises with every crash: what was arranged before is void. */
  #life = 0;
  #syncAt = Infinity;
  readonly #timeline: Timeline;
  readonly #onResolved: () => void;

  constructor(timeline: Timeline, onResolved: () => void, base: ReadonlyMap<string, unknown>) {
    this.#timeline = timeline;
    this.#onResolved = onResolved;
    this.#base = base;
  }

  journal(): Journal {
    return {
      get: (key) => this.#get(key),
      entries: (prefix) => this.#entries(prefix),
      write: (changes) => {
        this.#unsynced.push(changes);
        this.#sync(SYNC_MS);
        return new Promise((resolve) => this.#waiting.push(resolve));
      },
      writeLazily: (changes) => {
        this.#unsynced.push(changes);
        this.#sync(LAZY_SYNC_MS);
      },
      close: () => {
        this.#flush();
        return Promise.resolve();
      },
    };
  }

  /** Power is lost: of what was not synced, some first part has reached the disk. */
  crash(random: Random): void {
    this.#unsynced.length = randomBelow(random, this.#unsynced.length + 1);
    this.#waiting = [];
    this.#flush();
  }

  /** The program ends: what it gave to the kernel gets there. */
  kill(): void {
    this.#waiting = [];
    this.#flush();
  }

  /** Nothing is left. */
  wipe(): void {
    this.crash({ next: () => 0, bytes: () => new Uint8Array() });
    this.#base = new Map();
    this.#content = new Map();
  }

  image(): DiskImage {
    this.#flush();
    return { base: this.#base, content: new Map(this.#content) };
  }

  restore(image: DiskImage): void {
    this.wipe();
    this.#base = image.base;
    this.#content = new Map(image.content);
  }

  #get(key: string): unknown {
    for (let i = this.#unsynced.length - 1; i >= 0; i--) {
      const changes = this.#unsynced[i] as Changes;
      if (Object.hasOwn(changes, key)) return changes[key];
    }
    return this.#content.has(key) ? this.#content.get(key) : this.#base.get(key);
  }

  *#entries(prefix: string): Generator<readonly [string, unknown]> {
    this.#flush();
    for (const [key, value] of this.#base)
      if (key.startsWith(prefix) && !this.#content.has(key)) yield [key, value];
    for (const [key, value] of this.#content)
      if (value !== undefined && key.startsWith(prefix)) yield [key, value];
  }

  #sync(afterMs: number): void {
    const at = this.#timeline.nowMs() + afterMs;
    if (at >= this.#syncAt) return;
    this.#syncAt = at;
    const life = this.#life;
    this.#timeline.after(afterMs, () => {
      if (life === this.#life) this.#flush();
    });
  }

  #flush(): void {
    this.#life++;
    this.#syncAt = Infinity;
    for (const changes of this.#unsynced)
      for (const [key, value] of Object.entries(changes))
        if (value === undefined && !this.#base.has(key)) this.#content.delete(key);
        else this.#content.set(key, value);
    this.#unsynced = [];
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    this.#onResolved();
    for (const resolve of waiting) resolve();
  }
}
