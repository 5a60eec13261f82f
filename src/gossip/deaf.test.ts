import { beforeEach, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newClusterId, newNodeId } from '../model/names.ts';
import { GossipCore } from './core.ts';
import type { GossipEffect } from './events.ts';
import { handleOf, type Handle } from './nodes.ts';
import { RecordStore } from './records.ts';

const NEIGHBOURS = 7;
const SPARE = '10.0.9.9:1';

let core: GossipCore;
let own: Handle;
let handles: Handle[];
let now: number;

function hears(connection: number, message: object): readonly GossipEffect[] {
  return core.step({ on: 'frame', connection, frame: Buffer.from(JSON.stringify(message)) }, now);
}

const row = (i: number, sequence: number, neighbours: string): object => ({
  type: 'rows',
  rows: [[handles[i], 1, sequence, neighbours]],
});

const dialled = (effects: readonly GossipEffect[]): string[] =>
  effects.flatMap((effect) => (effect.do === 'connect' ? [effect.address] : []));

/** Everybody beats, and it is awake all the time. */
function pass(ms: number): string[] {
  const found: string[] = [];
  for (const until = now + ms; now < until;) {
    now = Math.min(until, core.wakeAt);
    found.push(...dialled(core.step({ on: 'tick' }, now)));
    for (let i = 0; i < NEIGHBOURS; i++) found.push(...dialled(hears(i + 1, { type: 'beat' })));
  }
  return found;
}

beforeEach(() => {
  const random = seededRandom(1);
  const [node, cluster] = [newNodeId(random), newClusterId(random)];
  const peers = Array.from({ length: NEIGHBOURS }, () => newNodeId(random));
  now = 0;
  own = handleOf(node);
  handles = peers.map(handleOf);
  core = new GossipCore({ random, store: new RecordStore() }, { node, epoch: 1 });
  core.step({ on: 'cluster', cluster, isOther: false, port: 1 }, now);
  for (const [i, peer] of peers.entries()) {
    const connection = i + 1;
    const address = `10.0.0.${connection}:1`;
    core.step({ on: 'connected', connection, address, isDialled: false }, now);
    hears(connection, { type: 'hello', protocol: 2, cluster, node: peer, epoch: 1, port: 1, address });
    hears(connection, { type: 'neighbour', join: false, urgent: false });
    hears(connection, row(i, 1, own));
  }
  core.step({ on: 'contacts', addresses: [SPARE] }, now);
  expect(pass(5_000)).toEqual([]);
});

it('another neighbour is looked for when too few of those that are heard hear this node', () => {
  expect(dialled(hears(1, row(0, 2, '')))).toEqual([]);
  expect(dialled(hears(2, row(1, 2, '')))).toEqual([SPARE]);
});

it('none is looked for when one hears it again', () => {
  hears(1, row(0, 2, ''));
  hears(1, row(0, 3, own));
  expect(dialled(hears(2, row(1, 2, '')))).toEqual([]);
});

it('none is looked for after a stall, when they had reason to give it up', () => {
  now += 2_000;
  core.step({ on: 'tick' }, now);
  for (const i of [0, 1]) hears(i + 1, row(i, 2, ''));
  expect(pass(5_000)).toEqual([]);
});
