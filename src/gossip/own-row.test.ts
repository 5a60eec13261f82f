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
  table.set(index, { epoch: 1, sequence: table.sequence(index) + 1, neighbours, failed: '' });

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
  expect(row.tellAt).toBeGreaterThan(15_000);
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
  // Three others come first in that node's own row.
  expect(row.tellAt).toBe(11_120);
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
  expect(row.tellAt).toBeGreaterThan(15_000);
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
