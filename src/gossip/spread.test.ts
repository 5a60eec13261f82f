import { beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newNodeId } from '../model/names.ts';
import { keys } from '../model/record.ts';
import { decodeMessage } from './codec.ts';
import { Links, type Link } from './links.ts';
import { NodeTable } from './nodes.ts';
import { Outbox } from './outbox.ts';
import { RecordStore } from './records.ts';
import { Spread } from './spread.ts';

const NEIGHBOURS = 5;

let links: Links;
let outbox: Outbox;
let spread: Spread;
let key: string;
let now: number;

beforeEach(() => {
  const random = seededRandom(1);
  [links, now] = [new Links(), 0];
  outbox = new Outbox(links);
  const store = new RecordStore();
  const node = newNodeId(random);
  key = keys.endpoint(node, 'c1', 'eth0');
  store.put({ key, version: { epoch: 1, sequence: 1 }, value: { n: 1 } });
  spread = new Spread({ random, links, outbox, store, table: new NodeTable() });
  for (let connection = 1; connection <= NEIGHBOURS; connection++) {
    const since = { address: `10.0.0.${connection}:1`, isDialled: true, since: 0, heardAt: 0 };
    const link = links.add({ connection, ...since, certified: undefined, purpose: 'neighbour' });
    links.establish(link, { node: newNodeId(random), epoch: 1, listens: link.address, protocol: 3 }, 0);
    links.activate(link);
  }
});

const link = (connection: number): Link => links.active()[connection - 1] as Link;
const pushing = (): number[] =>
  links.neighbours().flatMap(({ isPushing, connection }) => (isPushing ? [connection] : []));

/** What has been said since: connection and type of message. */
function said(): [connection: number, type: string][] {
  return outbox.take().flatMap((effect) => {
    if (effect.do !== 'send') return [];
    const decoded = decodeMessage(effect.frame);
    return [[effect.connection, decoded.ok ? decoded.message.type : '?'] as [number, string]];
  });
}

/** To whom a record goes at once. */
function told(from?: Link): number[] {
  spread.records([key], from, now);
  now += 30;
  spread.flush(now);
  return said().flatMap(([connection, type]) => (type === 'records' ? [connection] : []));
}

describe('news', () => {
  it('comes from two neighbours at least, however much of it is there already', () => {
    for (const each of [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]) spread.duplicate(link(each));
    expect(pushing()).toEqual([4, 5]);
    expect(said().slice(0, 3)).toEqual([
      [1, 'prune'],
      [2, 'prune'],
      [3, 'prune'],
    ]);
  });

  it('goes on to those who have told this node to mention it only', () => {
    for (const each of [1, 2, 3]) spread.duplicate(link(each));
    expect(told(link(5))).toEqual([1, 2, 3, 4]);
  });

  it('is not pushed to who has it from others, who pushes on', () => {
    for (const each of [1, 2]) spread.pruned(link(each));
    expect(told(link(5))).toEqual([3, 4]);
    expect(pushing()).toEqual([1, 2, 3, 4, 5]);
  });

  it('of this node itself goes to two at once, whoever has enough from others', () => {
    for (let each = 1; each <= NEIGHBOURS; each++) spread.pruned(link(each));
    expect(told(link(5))).toEqual([]);
    expect(told()).toHaveLength(2);
  });

  it('is asked of another when one of the two is gone', () => {
    for (const each of [1, 2, 3]) spread.duplicate(link(each));
    said();
    spread.regraft();
    expect(said()).toEqual([]);
    links.lose(link(4), now);
    spread.regraft();
    expect(pushing()).toHaveLength(2);
    const asked = said();
    expect(asked).toHaveLength(1);
    expect(asked[0]?.[1]).toBe('want');
    expect(pushing()).toContain(asked[0]?.[0]);
  });
});
