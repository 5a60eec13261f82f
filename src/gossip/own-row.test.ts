import { beforeEach, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { NodeTable } from './nodes.ts';
import { OwnRow } from './own-row.ts';

const SELF = 0;
const [peer, friend, other, another, third] = [1, 2, 3, 4, 5];
const handles = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => letter.repeat(10));

let table: NodeTable;
let row: OwnRow;
let reached: Set<number>;

/** What others are told: version and neighbours. */
const told = () => table.row(SELF).slice(1);
const joined = (...indices: number[]) => indices.map((index) => handles[index]).join('');
const set = (index: number, ...neighbours: number[]) =>
  table.set(index, { epoch: 1, sequence: table.sequence(index) + 1, neighbours, failed: '', answers: [] });

beforeEach(() => {
  table = new NodeTable();
  for (const handle of handles) table.index(handle);
  reached = new Set([peer, friend, other, another, third]);
  row = new OwnRow(
    {
      random: seededRandom(1),
      table,
      set: (next) => table.set(SELF, next),
      isReached: (index) => reached.has(index),
    },
    { index: SELF, epoch: 1 },
  );
  // All know each other, and this node; what follows is of a cluster that has settled.
  set(peer, friend, other, another, third, SELF);
  for (const each of [friend, other, another]) set(each, peer, SELF);
  set(third, peer);
  row.note([peer, friend, other, another], '', 0);
  row.tell(row.tellAt);
});

it('holds at once what others are told later', () => {
  row.note([peer, friend, other, another, third], '', 10_000);
  expect(table.lists(SELF, third)).toBe(true);
  expect(told()).toEqual([1, 1, joined(peer, friend, other, another)]);
});

it('tells of a loss now', () => {
  row.note([friend, other, another], '', 10_000);
  expect(row.tell(10_000)).toBe(true);
  expect(told()).toEqual([1, 2, joined(friend, other, another)]);
});

it('tells later of a return when others hear the node', () => {
  row.note([friend, other, another], '', 10_000);
  row.tell(10_000);
  row.note([peer, friend, other, another], '', 11_000);
  expect(row.tellAt).toBeGreaterThan(20_000);
  expect(row.tell(row.tellAt)).toBe(true);
  expect(told()).toEqual([1, 3, joined(peer, friend, other, another)]);
});

it('tells a return with the next loss', () => {
  row.note([friend, other, another], '', 10_000);
  row.tell(10_000);
  row.note([peer, friend, other, another], '', 11_000);
  row.note([peer, other, another], '', 12_000);
  expect(row.tell(12_000)).toBe(true);
  expect(told()).toEqual([1, 3, joined(peer, other, another)]);
  expect(row.tellAt).toBe(Infinity);
});

it('tells soon of a return when others do not hear the node', () => {
  row.note([friend, other, another], '', 10_000);
  row.tell(10_000);
  for (const each of [friend, other, another]) set(each, SELF);
  row.note([peer, friend, other, another], '', 11_000);
  // That node may say so itself, and three others come first in its own row.
  expect(row.tellAt).toBe(11_160);
});

it('waits no longer when others give the node up meanwhile', () => {
  row.note([friend, other, another], '', 10_000);
  row.tell(10_000);
  row.note([peer, friend, other, another], '', 11_000);
  for (const each of [friend, other, another]) set(each, SELF);
  row.reconsider(11_500);
  expect(row.tellAt).toBeLessThan(12_000);
});

it('leaves it to others, once they have told', () => {
  row.note([friend, other, another], '', 10_000);
  row.tell(10_000);
  for (const each of [friend, other, another]) set(each, SELF);
  row.note([peer, friend, other, another], '', 11_000);
  for (const each of [friend, other, another]) set(each, peer, SELF);
  row.reconsider(11_050);
  expect(row.tellAt).toBeGreaterThan(20_000);
});

it('tells soon of a node that is out of reach without it', () => {
  reached.delete(third);
  row.note([peer, friend, other, another, third], '', 10_000);
  expect(row.tellAt).toBe(10_000);
});

it('tells nothing when what was noted is undone', () => {
  row.note([peer, friend, other, another, third], '', 10_000);
  row.note([peer, friend, other, another], '', 10_100);
  const at = row.tellAt;
  expect(row.tell(at === Infinity ? 20_000 : at)).toBe(false);
  expect(told()).toEqual([1, 1, joined(peer, friend, other, another)]);
});

it('begins again from one as a new start', () => {
  row.raise(5, 10_000);
  expect(row.tell(10_000)).toBe(true);
  expect(told()).toEqual([5, 1, joined(peer, friend, other, another)]);
});

it('tells whom it fails to reach', () => {
  row.note([peer, friend, other, another], handles[third] ?? '', 10_000);
  expect(row.tell(10_000)).toBe(true);
  expect(told()).toEqual([1, 2, joined(peer, friend, other, another), handles[third]]);
});

const toldAnswers = () => table.row(SELF)[5];
/** The row of a neighbour leaves this node out. */
const deny = (index: number, now: number): void => {
  set(index, peer);
  row.answer(index, now);
};

it('answers the rows that leave it out after a stall, all of them at once', () => {
  row.woke(1_500, 10_000);
  for (const each of [friend, other, another]) deny(each, 10_005);
  expect(row.tellAt).toBe(10_025);
  expect(row.tell(10_025)).toBe(true);
  expect(told()).toEqual([
    1,
    2,
    joined(peer, friend, other, another),
    '',
    [friend, other, another].map((each) => [handles[each], 1, 2]),
  ]);
  for (const each of [friend, other, another]) expect(table.lists(each, SELF)).toBe(true);
});

it('answers nobody when it ran all the while', () => {
  row.woke(20, 10_000);
  deny(friend, 10_005);
  expect(row.tellAt).toBe(Infinity);
  expect(toldAnswers()).toBeUndefined();
});

it('answers no older row than the latest', () => {
  row.woke(1_500, 10_000);
  for (const each of [friend, other]) deny(each, 10_005);
  set(other, peer, SELF);
  row.tell(10_025);
  expect(toldAnswers()).toEqual([[handles[friend], 1, 2]]);
});

/** A neighbour that was left out says that it is back. */
const answered = (index: number): void =>
  table.set(index, {
    epoch: 1,
    sequence: table.sequence(index) + 1,
    neighbours: [SELF, friend],
    failed: '',
    answers: [{ index: SELF, epoch: 1, sequence: table.sequence(SELF) }],
  });

it('has nothing to tell of a return that the node itself has told', () => {
  row.note([peer, friend, other], '', 10_000);
  row.tell(10_000);
  row.note([peer, friend, other, another], '', 11_000);
  answered(another);
  row.reconsider(11_030);
  expect(row.tellAt).toBeGreaterThan(25_000);
});

it('says once more of a node that it does not hear it, when that says it is back', () => {
  row.note([peer, friend, other], '', 10_000);
  row.tell(10_000);
  answered(another);
  row.reconsider(11_000);
  expect(row.tellAt).toBe(11_700);
  expect(row.tell(11_700)).toBe(true);
  expect(told()).toEqual([1, 3, joined(peer, friend, other)]);
  expect(table.answering(SELF)).toEqual([]);
});

it('tells at once of a node that falls silent again after it said it was back', () => {
  row.note([peer, friend, other], '', 10_000);
  row.tell(10_000);
  row.note([peer, friend, other, another], '', 11_000);
  answered(another);
  row.note([peer, friend, other], '', 12_000);
  expect(row.tell(12_000)).toBe(true);
  expect(told()).toEqual([1, 3, joined(peer, friend, other)]);
});

it('keeps whom it parts from for a second, so that those in their place are told first', () => {
  row.note([another, third], '', 10_000, [peer, friend, other]);
  expect(row.tellAt).toBe(10_000);
  expect(row.tell(10_000)).toBe(true);
  expect(told()).toEqual([1, 2, joined(another, third, peer, friend, other)]);
  expect(row.tellAt).toBe(11_000);
  expect(row.tell(11_000)).toBe(true);
  expect(told()).toEqual([1, 3, joined(another, third)]);
});

it('tells at once of a neighbour that falls silent while it parts from another', () => {
  row.note([other, another], '', 10_000, [friend]);
  expect(row.tell(10_000)).toBe(true);
  expect(told()).toEqual([1, 2, joined(other, another, friend)]);
});
