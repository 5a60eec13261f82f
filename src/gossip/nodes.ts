/**
 * All nodes this one has heard of, and whose neighbour each says it is.
 *
 * Purpose: per node its latest row (epoch, sequence, neighbours), and a hash over all rows in buckets, so that two nodes
 * find out cheaply which rows differ. Reachability over these rows is reach-tree.ts.
 * Invariants: the newer row stays, whatever the order of arrival; a removed node has no row and gets none.
 * Review notes: a thousand nodes live in one process when simulated, each with a thousand rows: hence typed arrays and
 * handles, the first 50 bits of an id, which is random.
 */
import type { NodeId } from '../model/names.ts';
import { Answers, holds, type Answer } from './answers.ts';
import { HandleIndex } from './handle-index.ts';
import { bucketOf, BUCKETS, hashText } from './hash.ts';

const HANDLE_LENGTH = 10;
/** More than an active view ever holds. */
export const MAX_NEIGHBOURS = 16;
/** Nodes beyond this are not followed: ten times the largest cluster there is. */
const MAX_NODES = 65_536;
const FIRST_CAPACITY = 16;
/** What is asked for together lies together: epoch, sequence, and when the row came. */
const HEAD = 3;

/** A short name of a node. */
export type Handle = string;

/** The first entry of each table: the node itself. */
export const SELF = 0;

/** An answer to a neighbour's row, see answers.ts. */
export type AnswerRow = readonly [handle: Handle, epoch: number, sequence: number];

/** `[node, epoch, sequence, neighbours joined without separator, those it fails to reach likewise, its answers]` */
export type Row = readonly [
  handle: Handle,
  epoch: number,
  sequence: number,
  neighbours: string,
  failed?: string,
  answers?: readonly AnswerRow[],
];

/** What a node's latest row says. */
export interface RowChange {
  readonly epoch: number;
  readonly sequence: number;
  readonly neighbours: readonly number[];
  readonly failed: string;
  readonly answers: readonly Answer[];
}

export function handleOf(node: NodeId): Handle {
  return node.slice(1, 1 + HANDLE_LENGTH);
}

export function isHandle(text: string): boolean {
  return text.length === HANDLE_LENGTH && areHandles(text);
}

/** By hand, since most of what is said while nodes come and go is handles. */
function areHandles(joined: string): boolean {
  for (let i = 0; i < joined.length; i++) {
    const code = joined.charCodeAt(i);
    if (!((code >= 97 && code <= 122) || (code >= 50 && code <= 55))) return false;
  }
  return true;
}

/** A list of handles as a row has it. */
export function isHandleList(joined: string): boolean {
  const count = joined.length / HANDLE_LENGTH;
  return Number.isInteger(count) && count <= MAX_NEIGHBOURS && areHandles(joined);
}

/** A list of handles as a row has it; `undefined` when it is none or too long. */
export function splitHandles(joined: string): Handle[] | undefined {
  const count = joined.length / HANDLE_LENGTH;
  if (!Number.isInteger(count) || count > MAX_NEIGHBOURS) return undefined;
  const handles: Handle[] = [];
  for (let i = 0; i < count; i++) handles.push(joined.slice(i * HANDLE_LENGTH, (i + 1) * HANDLE_LENGTH));
  return handles;
}

export class NodeTable {
  readonly #indices = new HandleIndex();
  readonly #handles: Handle[] = [];
  /** Of nodes that have a record of their own. */
  readonly #ids: (NodeId | undefined)[] = [];
  #heads = new Float64Array(FIRST_CAPACITY * HEAD);
  /** Of neighbours in the row itself; behind them in the list are those that answer it. */
  #named = new Uint8Array(FIRST_CAPACITY);
  #counts = new Uint8Array(FIRST_CAPACITY);
  #lists = new Int32Array(FIRST_CAPACITY * MAX_NEIGHBOURS);
  readonly #failed = new Map<number, string>();
  readonly #answers = new Answers();
  readonly #told = new Map<number, Row>();
  readonly #hashes = new Int32Array(BUCKETS);

  get size(): number {
    return this.#handles.length;
  }

  /** The index of a handle, made when it is new; -1 when there are too many, or it is none. */
  index(handle: Handle): number {
    const known = this.#indices.find(handle);
    if (known >= 0 || !isHandle(handle)) return known;
    const index = this.#handles.length;
    if (index >= MAX_NODES) return -1;
    if (index >= this.#counts.length) this.#grow();
    this.#indices.add(handle, index);
    this.#handles.push(handle);
    this.#ids.push(undefined);
    return index;
  }

  /**
   * The nodes of a list of handles, for the row of `index`. Most of them are in its present row, and in its order: those
   * need no look-up, of which there are many while nodes come and go.
   */
  indices(index: number, joined: string): number[] {
    const found: number[] = [];
    let at = 0;
    for (let from = 0; from < joined.length; from += HANDLE_LENGTH) {
      let next = at;
      while (next < this.count(index) && !joined.startsWith(this.handle(this.neighbour(index, next)), from))
        next++;
      const isHeld = next < this.count(index);
      if (isHeld) at = next + 1;
      const other = isHeld
        ? this.neighbour(index, next)
        : this.index(joined.slice(from, from + HANDLE_LENGTH));
      if (other >= 0 && other !== index) found.push(other);
    }
    return found;
  }

  find(handle: Handle): number {
    return this.#indices.find(handle);
  }

  handle(index: number): Handle {
    return this.#handles[index] ?? '';
  }

  id(index: number): NodeId | undefined {
    return this.#ids[index];
  }

  setId(index: number, id: NodeId | undefined): void {
    if (index >= 0) this.#ids[index] = id;
  }

  /** Every node with a record. */
  *known(): Generator<readonly [index: number, id: NodeId]> {
    for (let i = 0; i < this.#ids.length; i++) {
      const id = this.#ids[i];
      if (id !== undefined) yield [i, id];
    }
  }

  epoch(index: number): number {
    return this.#heads[index * HEAD] ?? 0;
  }

  sequence(index: number): number {
    return this.#heads[index * HEAD + 1] ?? 0;
  }

  /** When its latest row came; 0 = none has. */
  saidAt(index: number): number {
    return this.#heads[index * HEAD + 2] ?? 0;
  }

  said(index: number, now: number): void {
    this.#heads[index * HEAD + 2] = now;
  }

  hasRow(index: number): boolean {
    const epoch = this.epoch(index);
    return epoch > 0 && epoch < Infinity;
  }

  /** Of its neighbours: those it names, and those that answer its row. */
  count(index: number): number {
    return this.#counts[index] ?? 0;
  }

  neighbour(index: number, at: number): number {
    return this.#lists[index * MAX_NEIGHBOURS + at] ?? -1;
  }

  lists(index: number, other: number): boolean {
    const count = this.count(index);
    for (let at = 0; at < count; at++) if (this.neighbour(index, at) === other) return true;
    return false;
  }

  /** As its row says, whatever is answered. */
  names(index: number, other: number): boolean {
    const count = this.#named[index] ?? 0;
    for (let at = 0; at < count; at++) if (this.neighbour(index, at) === other) return true;
    return false;
  }

  /** Those that answer the latest row of a node. */
  answering(index: number): number[] {
    return this.#answers.to(index, this.epoch(index), this.sequence(index));
  }

  /** Whom the node has for a neighbour, and who has it, when its row is this one: before it is set. */
  edgesAfter(index: number, { epoch, sequence, neighbours, answers }: RowChange): readonly number[] {
    const added = this.#answers.to(index, epoch, sequence);
    const before = this.#answers.by(index);
    if (added.length + before.length === 0) return neighbours;
    const ended = before.filter(({ index: other }) => {
      const answer = answers.find((each) => each.index === other);
      const stays = answer !== undefined && holds(answer, this.epoch(other), this.sequence(other));
      return !stays && !this.names(other, index);
    });
    const kept = neighbours.filter((other) => !ended.some((each) => each.index === other));
    return [...kept, ...added];
  }

  /** Both say so. */
  areNeighbours(a: number, b: number): boolean {
    return this.lists(a, b) && this.lists(b, a);
  }

  /** Handles of those the node fails to reach although others can. */
  failedOf(index: number): string {
    return this.#failed.get(index) ?? '';
  }

  /** Negative: what is held is older than the version given. */
  compare(index: number, epoch: number, sequence: number): number {
    return this.epoch(index) - epoch || this.sequence(index) - sequence;
  }

  /** Without a check: see `compare`. */
  set(index: number, row: RowChange): void {
    this.#toggle(index);
    this.#heads[index * HEAD] = row.epoch;
    this.#heads[index * HEAD + 1] = row.sequence;
    this.#named[index] = row.neighbours.length;
    this.#lists.set(row.neighbours, index * MAX_NEIGHBOURS);
    this.#append(index);
    this.#answer(index, row.answers);
    if (row.failed === '') this.#failed.delete(index);
    else this.#failed.set(index, row.failed);
    this.#toggle(index);
  }

  /** No row of the node is taken any more. */
  bar(index: number): void {
    this.#toggle(index);
    this.#heads[index * HEAD] = Infinity;
    this.#named[index] = 0;
    this.#counts[index] = 0;
    this.#answer(index, []);
    this.#failed.delete(index);
    this.#ids[index] = undefined;
  }

  /** From now on others are told the row as it is, until it is told again. */
  tell(index: number): void {
    this.#told.delete(index);
    this.#told.set(index, this.row(index));
  }

  /** As others are told. */
  row(index: number): Row {
    const told = this.#told.get(index);
    if (told !== undefined) return told;
    let neighbours = '';
    for (let at = 0; at < (this.#named[index] ?? 0); at++)
      neighbours += this.handle(this.neighbour(index, at));
    const failed = this.failedOf(index);
    const row = [this.handle(index), this.epoch(index), this.sequence(index), neighbours] as const;
    const answers = this.#answers
      .by(index)
      .map((answer) => [this.handle(answer.index), answer.epoch, answer.sequence] as const);
    if (answers.length > 0) return [...row, failed, answers];
    return failed === '' ? row : [...row, failed];
  }

  /** Equal for two nodes that hold the same rows. */
  get hash(): string {
    let all = 0;
    for (let i = 0; i < BUCKETS; i++) all = Math.imul(all, 31) ^ (this.#hashes[i] ?? 0);
    return (all >>> 0).toString(16);
  }

  bucketHashes(): number[] {
    return Array.from(this.#hashes);
  }

  /** Nodes with rows, of the buckets given. */
  ofBuckets(buckets: ReadonlySet<number>): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.#handles.length; i++)
      if (this.hasRow(i) && buckets.has(bucketOf(hashText(this.handle(i))))) found.push(i);
    return found;
  }

  #answer(index: number, answers: readonly Answer[]): void {
    const before = this.#answers.by(index);
    if (before.length + answers.length === 0) return;
    this.#answers.set(index, answers);
    for (const each of [...before, ...answers]) if (each.index !== index) this.#append(each.index);
  }

  /** Behind those it names, those that answer its row; what this node says of itself it knows best. */
  #append(index: number): void {
    let count = this.#named[index] ?? 0;
    if (index !== SELF && this.hasRow(index))
      for (const other of this.answering(index))
        if (count < MAX_NEIGHBOURS && !this.names(index, other))
          this.#lists[index * MAX_NEIGHBOURS + count++] = other;
    this.#counts[index] = count;
  }

  /** Adds or takes away the row's part in its bucket's hash. */
  #toggle(index: number): void {
    if (!this.hasRow(index)) return;
    const hash = hashText(this.handle(index));
    const version =
      Math.imul(this.epoch(index) | 0, 0x9e3779b1) ^ Math.imul(this.sequence(index) | 0, 0x85ebca6b);
    const bucket = bucketOf(hash);
    this.#hashes[bucket] =
      (this.#hashes[bucket] ?? 0) ^ Math.imul(version ^ hash.high, 0xc2b2ae35) ^ (version >>> 13);
  }

  #grow(): void {
    const capacity = this.#counts.length * 2;
    const copy = <T extends Float64Array | Uint8Array | Int32Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.#heads = copy(new Float64Array(capacity * HEAD), this.#heads);
    this.#named = copy(new Uint8Array(capacity), this.#named);
    this.#counts = copy(new Uint8Array(capacity), this.#counts);
    this.#lists = copy(new Int32Array(capacity * MAX_NEIGHBOURS), this.#lists);
  }
}
