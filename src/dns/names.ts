/**
 * All names we answer for: those that are told, and those of tasks, which are made when somebody asks.
 *
 * Purpose: most tasks have a dozen names and are asked for by one of them, on few hosts, or never. A task that comes or
 * goes is filed by its words alone (task-index.ts); an answer is made for the first who asks, and kept until one of the
 * tasks changes that it may be of.
 * Invariants: an answer that is kept is what would be made anew; so many are kept at most.
 * Review notes: `find` is called for every query; nearly always its first line answers.
 */
import type { ViewedTask } from '../model/task-view.ts';
import type { DnsRecord, RecordType } from './record.ts';
import { makeSets, NO_RECORDS, toldRecords, type RecordSets } from './record-sets.ts';
import { NameTable } from './table.ts';
import { TaskIndex } from './task-index.ts';
import { taskRecords } from './task-names.ts';
import { placeOf, type Place } from './task-words.ts';
import { defaultTtls, type TimesToLive } from './zones.ts';

/** Answers that are kept: all names that anybody asks for in a large cluster; about 10 MB. */
const ANSWERS_MAX = 20_000;

/** Words that a name leads to: a service's, with or without its port's name, in two zones. */
const WORDS_MAX = 6;

export interface NamesInit {
  /** As it is now. */
  task(id: string): ViewedTask | undefined;
  readonly ttls?: TimesToLive;
  /** @default 20,000 */
  readonly answersMax?: number;
}

export class Names {
  readonly #init: NamesInit;
  readonly #told = new NameTable({ onName: (key) => this.#answers.delete(key) });
  readonly #tasks = new TaskIndex();
  readonly #answers = new Map<string, RecordSets>();
  /** Keys of the answers that may be of a word's tasks, those included that may come. */
  readonly #askedOf = new Map<string, string[]>();

  constructor(init: NamesInit) {
    this.#init = init;
  }

  /** How many records owners and tasks have in each zone; what several say counts for each. */
  get zoneCounts(): ReadonlyMap<string, number> {
    const counts = new Map(this.#told.zoneCounts);
    for (const [zone, count] of Object.entries(this.#tasks.zoneCounts))
      counts.set(zone, (counts.get(zone) ?? 0) + (count as number));
    return counts;
  }

  /** What `owner` says now, in place of what it said. Returns whether anything changed. */
  set(owner: string, records: readonly DnsRecord[]): boolean {
    return this.#told.set(owner, records);
  }

  owners(): Iterable<string> {
    return this.#told.owners();
  }

  /** A task has come, changed or gone (`undefined`). */
  put(id: string, viewed: ViewedTask | undefined): void {
    for (const word of this.#tasks.put(id, viewed)) {
      const keys = this.#askedOf.get(word);
      if (keys === undefined) continue;
      for (const key of keys) this.#answers.delete(key);
      this.#askedOf.delete(word);
    }
  }

  /** What is told of a name, by type: empty for one that only has names below it, `undefined` for one that is not there. */
  find(key: string): RecordSets | undefined {
    return this.#answers.get(key) ?? this.#make(key);
  }

  /** A task's own records, whatever others say of these names. */
  recordsOf(task: string): readonly DnsRecord[] {
    const viewed = this.#init.task(task);
    return viewed === undefined ? [] : taskRecords(viewed, this.#init.ttls);
  }

  /** Everything that is told, name by name; made piece by piece, and nothing of it is kept. */
  *listing(): Generator<undefined, readonly ReadonlyMap<RecordType, readonly DnsRecord[]>[]> {
    const names = new Map<string, DnsRecord[]>();
    const add = (record: DnsRecord): void => {
      const there = names.get(record.name);
      if (there === undefined) names.set(record.name, [record]);
      else there.push(record);
    };
    for (const record of this.#told.records()) add(record);
    for (const id of this.#tasks.ids()) {
      for (const record of this.recordsOf(id)) add(record);
      yield;
    }
    const listing: ReadonlyMap<RecordType, readonly DnsRecord[]>[] = [];
    for (const records of names.values()) {
      listing.push(toldRecords(records));
      yield;
    }
    return listing;
  }

  #make(key: string): RecordSets | undefined {
    const told = this.#told.find(key);
    const place = placeOf(key);
    if (place === undefined) return told;
    const records = this.#recordsAt(place);
    if (records.length === 0) return told ?? (this.#tasks.hasBelow(key, place) ? NO_RECORDS : undefined);
    const sets = makeSets([...this.#told.recordsAt(key), ...records]);
    this.#keep(key, place, sets);
    return sets;
  }

  #recordsAt(place: Place): readonly DnsRecord[] {
    const records: DnsRecord[] = [];
    for (const id of this.#tasks.tasksAt(place)) {
      const viewed = this.#init.task(id);
      if (viewed !== undefined)
        records.push(...taskRecords(viewed, this.#init.ttls ?? defaultTtls, place.text));
    }
    return records;
  }

  #keep(key: string, { words }: Place, sets: RecordSets): void {
    const max = this.#init.answersMax ?? ANSWERS_MAX;
    if (this.#answers.size >= max || this.#askedOf.size >= max * WORDS_MAX) {
      this.#answers.clear();
      this.#askedOf.clear();
    }
    this.#answers.set(key, sets);
    for (const word of words) {
      const keys = this.#askedOf.get(word);
      if (keys === undefined) this.#askedOf.set(word, [key]);
      else if (!keys.includes(key)) keys.push(key);
    }
  }
}
