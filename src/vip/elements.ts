/**
 * The elements that all VIPs together want in the kernel, and what changes when one VIP does.
 *
 * Invariants: an element that several VIPs want (a backend's bridge, say) is there for as long as one of them does;
 * `replace` answers exactly what makes a kernel that held everything before hold everything now.
 */
import type { VipElement } from './render.ts';

export interface ElementChange {
  readonly table: VipElement['table'];
  readonly set: string;
  readonly remove: string[];
  readonly add: (readonly [key: string, data: string])[];
}

/** Elements between two looks at the clock. */
const SLICE = 2_000;

interface Wanted {
  data: string;
  holders: number;
  /** The last reading of the kernel that came by it. */
  reading: number;
}

export class ElementTable {
  readonly #vips = new Map<string, readonly VipElement[]>();
  /** By set, then by key. */
  readonly #sets = {
    inet: new Map<string, Map<string, Wanted>>(),
    bridge: new Map<string, Map<string, Wanted>>(),
  };
  /** Readings of the kernel so far: tells the marks of one from those of all before it. */
  #readings = 0;

  /** How many elements there are. */
  get size(): number {
    let size = 0;
    for (const sets of Object.values(this.#sets)) for (const set of sets.values()) size += set.size;
    return size;
  }

  /** Whether any VIP wants an element of this table. */
  wants(table: VipElement['table']): boolean {
    for (const set of this.#sets[table].values()) if (set.size > 0) return true;
    return false;
  }

  /** Ids of the VIPs that have elements. */
  vips(): Iterable<string> {
    return this.#vips.keys();
  }

  /**
   * The VIP wants these from now on; none: it is gone. What stays in its place stays the same object, so that a change
   * leaves as little as it can that lives on.
   */
  replace(vip: string, elements: readonly VipElement[], changes = new ElementChanges()): ElementChanges {
    const before = this.#vips.get(vip);
    if (before === undefined) {
      for (const element of elements) this.#hold(element, changes);
      if (elements.length > 0) this.#vips.set(vip, elements);
      return changes;
    }
    const now: VipElement[] = [];
    // What is wanted before and after keeps a holder in between, so that it is no change.
    for (let i = 0; i < elements.length; i++) {
      const [old, element] = [before[i], elements[i]];
      if (element === undefined) continue;
      const stays = old !== undefined && isSame(old, element);
      if (!stays) this.#hold(element, changes);
      now.push(stays ? old : element);
    }
    for (let i = 0; i < before.length; i++) {
      const old = before[i];
      if (old !== undefined && now[i] !== old) this.#release(old, changes);
    }
    if (now.length === 0) this.#vips.delete(vip);
    else this.#vips.set(vip, now);
    return changes;
  }

  /** A comparison with a kernel set, to be fed with what that holds. What is wanted must not change until its end. */
  compare(table: VipElement['table'], set: string): ElementComparison {
    const wanted = this.#sets[table].get(set) ?? new Map<string, Wanted>();
    return new ElementComparison({ table, set, wanted, nextReading: () => ++this.#readings });
  }

  #hold({ table, set, key, data }: VipElement, changes: ElementChanges): void {
    let elements = this.#sets[table].get(set);
    if (elements === undefined) this.#sets[table].set(set, (elements = new Map<string, Wanted>()));
    const wanted = elements.get(key);
    if (wanted === undefined) {
      elements.set(key, { data, holders: 1, reading: 0 });
      changes.add(table, set, key, data);
      return;
    }
    wanted.holders++;
    if (wanted.data === data) return;
    changes.remove(table, set, key);
    changes.add(table, set, key, data);
    wanted.data = data;
  }

  #release({ table, set, key }: VipElement, changes: ElementChanges): void {
    const elements = this.#sets[table].get(set);
    const wanted = elements?.get(key);
    if (elements === undefined || wanted === undefined || --wanted.holders > 0) return;
    elements.delete(key);
    changes.remove(table, set, key);
  }
}

const isSame = (a: VipElement, b: VipElement): boolean =>
  a.data === b.data && a.key === b.key && a.set === b.set && a.table === b.table;

interface ComparisonInit {
  readonly table: VipElement['table'];
  readonly set: string;
  readonly wanted: ReadonlyMap<string, Wanted>;
  nextReading(): number;
}

/**
 * What is wanted beside what the kernel holds, element by element as the kernel's are read: each that is as it should
 * be costs a mark, and nothing is kept but what is not.
 */
export class ElementComparison {
  readonly #init: ComparisonInit;
  /** Not wanted, or not so: key and data in the kernel. */
  readonly #wrong = new Map<string, string>();
  #reading = 0;
  #matching = 0;

  constructor(init: ComparisonInit) {
    this.#init = init;
    this.restart();
  }

  /** What was taken counts no more. */
  restart(): void {
    this.#reading = this.#init.nextReading();
    this.#matching = 0;
    this.#wrong.clear();
  }

  /** The kernel holds this; false when it has been said before. */
  take(key: string, data: string): boolean {
    const want = this.#init.wanted.get(key);
    if (want?.data !== data) {
      const isNew = !this.#wrong.has(key) && want?.reading !== this.#reading;
      this.#wrong.set(key, data);
      return isNew;
    }
    if (want.reading === this.#reading || this.#wrong.has(key)) return false;
    want.reading = this.#reading;
    this.#matching++;
    return true;
  }

  /** How many elements the kernel has, lacks or has otherwise, as of what was taken. */
  get differing(): number {
    return this.#wrong.size + this.#init.wanted.size - this.#matching - this.#replaced();
  }

  /** What the kernel holds under this key that is not wanted, or not so. */
  found(key: string): string | undefined {
    return this.#wrong.get(key);
  }

  /**
   * What makes the kernel hold all that is wanted, in changes of at most `size` elements, made as they are asked for so
   * that hundreds of thousands of them never are there at once; nothing after a while in which there was none.
   */
  *additions(size: number): Generator<ElementChange | undefined, void> {
    const { wanted } = this.#init;
    // Of what matches throughout, which is the rule, nothing has to be looked for.
    if (this.#matching === wanted.size) return;
    let change = this.#change();
    let count = 0;
    for (const [key, { data, reading }] of wanted) {
      if (++count % SLICE === 0) yield undefined;
      if (reading === this.#reading) continue;
      if (this.#wrong.has(key)) change.remove.push(key);
      if (change.add.push([key, data]) < size) continue;
      yield change;
      change = this.#change();
    }
    if (change.add.length > 0) yield change;
  }

  /** What the kernel holds and nobody wants, in changes of at most `size` elements. */
  *strays(size: number): Generator<ElementChange, void> {
    let change = this.#change();
    for (const key of this.#wrong.keys()) {
      if (this.#init.wanted.has(key) || change.remove.push(key) < size) continue;
      yield change;
      change = this.#change();
    }
    if (change.remove.length > 0) yield change;
  }

  #replaced(): number {
    let replaced = 0;
    for (const key of this.#wrong.keys()) if (this.#init.wanted.has(key)) replaced++;
    return replaced;
  }

  #change(): ElementChange {
    const { table, set } = this.#init;
    return { table, set, remove: [], add: [] };
  }
}

/** Additions and removals as they come, by set: each element once, as it is at last. */
export class ElementChanges {
  readonly #sets: SetChanges[] = [];
  #size = 0;

  /** About how many elements it moves. */
  get size(): number {
    return this.#size;
  }

  add(table: VipElement['table'], set: string, key: string, data: string): void {
    const keys = this.#keys(table, set);
    const known = keys.get(key);
    if (known === undefined) keys.set(key, { was: false, data });
    else known.data = data;
    this.#size++;
  }

  remove(table: VipElement['table'], set: string, key: string): void {
    const keys = this.#keys(table, set);
    const known = keys.get(key);
    if (known === undefined) keys.set(key, { was: true, data: undefined });
    else if (known.was) known.data = undefined;
    else keys.delete(key);
    this.#size++;
  }

  all(): readonly ElementChange[] {
    return this.#sets.map(({ table, set, keys }) => {
      const change: ElementChange = { table, set, remove: [], add: [] };
      for (const [key, { was, data }] of keys) {
        if (was) change.remove.push(key);
        if (data !== undefined) change.add.push([key, data]);
      }
      return change;
    });
  }

  /** Sets are a dozen at most. */
  #keys(table: VipElement['table'], set: string): SetChanges['keys'] {
    for (const known of this.#sets) if (known.set === set && known.table === table) return known.keys;
    const keys: SetChanges['keys'] = new Map();
    this.#sets.push({ table, set, keys });
    return keys;
  }
}

/** By key: the data it has at last, `undefined` = none; and whether it was there at first. */
interface SetChanges {
  readonly table: VipElement['table'];
  readonly set: string;
  readonly keys: Map<string, { was: boolean; data: string | undefined }>;
}
