import { beforeEach, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import { Doubts } from './doubts.ts';
import { Links } from './links.ts';
import { handleOf, NodeTable } from './nodes.ts';

const [target, friend, other] = [1, 2, 3];

let table: NodeTable;
let doubts: Doubts;
let node: NodeId;
let dialled: number;

const set = (index: number, ...neighbours: number[]) =>
  table.set(index, { epoch: 1, sequence: table.sequence(index) + 1, neighbours, failed: '', answers: [] });

/** How often it is dialled in vain before it is called unreachable. */
function attempts(): number {
  dialled = 0;
  doubts.reported([handleOf(node)], 0);
  for (let now = 0; !doubts.isFailed(target); now += 500) {
    const before = dialled;
    doubts.tick(now);
    if (dialled > before) doubts.vain(target, now);
  }
  return dialled;
}

beforeEach(() => {
  const random = seededRandom(1);
  const links = new Links();
  const probe = (): boolean => ++dialled > 0;
  table = new NodeTable();
  for (let i = 0; i < 4; i++) {
    const id = newNodeId(random);
    table.setId(table.index(handleOf(id)), id);
  }
  node = table.id(target) as NodeId;
  set(target, friend, other);
  set(friend, target, other);
  set(other, target, friend);
  doubts = new Doubts({ random, links, table, probe }, { isReached: () => true });
});

it('a node that all others hear is unreachable from here after four attempts in vain', () => {
  expect(attempts()).toBe(4);
});

it('one that another does not hear either loses packets, and is given four more', () => {
  set(other, friend);
  expect(attempts()).toBe(8);
});

it('so does one that has answered such doubts before', () => {
  doubts.reported([handleOf(node)], 0);
  doubts.answered(target);
  expect(attempts()).toBe(8);
});
