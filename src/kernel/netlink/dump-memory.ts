/**
 * What a dump said the last time, so that reading thousands of unchanged objects again costs a comparison of bytes.
 *
 * Messages are compared one by one, in order, without what changes by itself (ages and counters of neighbours). As long
 * as they say the same, the values made last time are given again; from the first difference on they are decoded.
 * Invariants: a dump that repeats the one before gives the very same list; a value is given again only while the
 * indexes in it still belong to links of the same names.
 */
import type { Message } from './message.ts';
import type { NameOf } from './rtnetlink/constants.ts';

/** struct rtmsg and struct ndmsg. */
const HEADER_BYTES = 12;
/** NDA_CACHEINFO and NDA_PROBES: ages in ticks, and a counter. */
const NEIGHBOUR_VOLATILE: ReadonlySet<number> = new Set([3, 4]);
const NOTHING_VOLATILE: ReadonlySet<number> = new Set();
const FIRST_WORDS = 1024;

export interface DumpMemoryInit<T> {
  /** `undefined` = leave the message out. */
  readonly decode: (buffer: Buffer, message: Message, nameOf: NameOf) => T | undefined;
  /** Of neighbours and forwarding entries, whose messages carry ages. */
  readonly aging: boolean;
}

export class DumpMemory<T> {
  readonly #decode: DumpMemoryInit<T>['decode'];
  readonly #volatile: ReadonlySet<number>;
  /** The names that the values were made with. */
  readonly #names = new Map<number, string | undefined>();
  /** Of every message its length and what it says, one behind the other. */
  #words = new Int32Array(FIRST_WORDS);
  #wordCount = 0;
  /** By number of the message. */
  #values: (T | undefined)[] = [];
  #list: readonly T[] = [];
  #nameOf: NameOf = () => undefined;
  #at = 0;
  #count = 0;
  #same = false;
  #complete = false;

  constructor(init: DumpMemoryInit<T>) {
    this.#decode = init.decode;
    this.#volatile = init.aging ? NEIGHBOUR_VOLATILE : NOTHING_VOLATILE;
  }

  /** A dump begins, perhaps because the one before did not come to its end. */
  begin(nameOf: NameOf): void {
    const renamed = [...this.#names].some(([index, name]) => nameOf(index) !== name);
    this.#same = this.#complete && !renamed;
    this.#complete = false;
    if (!this.#same) this.#names.clear();
    this.#nameOf = nameOf;
    this.#at = 0;
    this.#count = 0;
  }

  /** The next message of it; nothing is left for whoever dumps to keep. */
  add(buffer: Buffer, message: Message): undefined {
    this.#compare(buffer, message);
    if (!this.#same) {
      this.#values.length = this.#count;
      this.#values.push(this.#decode(buffer, message, (index) => this.#name(index)));
    }
    this.#count++;
  }

  /** All of it was read. */
  end(): readonly T[] {
    if (!this.#same || this.#at !== this.#wordCount) {
      this.#values.length = this.#count;
      this.#list = this.#values.filter((value) => value !== undefined);
    }
    this.#wordCount = this.#at;
    this.#complete = true;
    return this.#list;
  }

  /** Keeps what the message says in the place of what was there; `#same` ends when that was something else. */
  #compare(buffer: Buffer, { start, end }: Message): void {
    this.#reserve(2 + (end - start) / 4);
    const begun = this.#at++;
    const fixed = Math.min(start + HEADER_BYTES, end);
    this.#keep(buffer, start, fixed);
    for (let at = fixed; at + 4 <= end;) {
      const size = Math.max((buffer.readUInt16LE(at) + 3) & ~3, 4);
      const next = Math.min(at + size, end);
      if (!this.#volatile.has(buffer.readUInt16LE(at + 2))) this.#keep(buffer, at, next);
      at = next;
    }
    this.#put(begun, this.#at - begun);
  }

  #keep(buffer: Buffer, start: number, end: number): void {
    for (let at = start; at + 4 <= end; at += 4) this.#put(this.#at++, buffer.readInt32LE(at));
  }

  #put(place: number, word: number): void {
    if (this.#words[place] === word && place < this.#wordCount) return;
    this.#words[place] = word;
    this.#same = false;
  }

  #reserve(words: number): void {
    if (this.#at + words <= this.#words.length) return;
    const grown = new Int32Array(Math.max(this.#at + words, this.#words.length * 2));
    grown.set(this.#words);
    this.#words = grown;
  }

  #name(index: number): string | undefined {
    const name = this.#nameOf(index);
    this.#names.set(index, name);
    return name;
  }
}

/** One question to the kernel that is asked again and again, in one dump or several, one after the other. */
export class RememberedDump<T> {
  readonly #memories: readonly DumpMemory<T>[];
  #parts: readonly (readonly T[])[] = [];
  #whole: readonly T[] = [];
  #tail: Promise<unknown> = Promise.resolve();

  constructor(init: DumpMemoryInit<T> & { readonly dumps: number }) {
    this.#memories = Array.from({ length: init.dumps }, () => new DumpMemory(init));
  }

  /** `dump` reads the one with this number; the answer is the very list of the last time while all say the same. */
  read(dump: (memory: DumpMemory<T>, at: number) => Promise<readonly T[]>): Promise<readonly T[]> {
    const result = this.#tail.then(async () => {
      const parts: (readonly T[])[] = [];
      for (const [at, memory] of this.#memories.entries()) parts.push(await dump(memory, at));
      if (parts.some((part, at) => part !== this.#parts[at])) this.#whole = parts.flat();
      this.#parts = parts;
      return this.#whole;
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** Questions remembered at a time; whoever asks for more forgets all. */
const MAX_REMEMBERED = 16;

/** By what is asked. */
export class RememberedDumps<T> {
  readonly #dumps = new Map<string, RememberedDump<T>>();

  get(question: string, make: () => RememberedDump<T>): RememberedDump<T> {
    const known = this.#dumps.get(question);
    if (known !== undefined) return known;
    if (this.#dumps.size >= MAX_REMEMBERED) this.#dumps.clear();
    const made = make();
    this.#dumps.set(question, made);
    return made;
  }
}
