import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { newNodeId, type NodeId } from '../model/names.ts';
import { backoffMs, MAX_PEERS, Members, TARGET_PEERS, type LinkView } from './members.ts';

const random = seededRandom(1);
const ids: NodeId[] = Array.from({ length: 30 }, () => newNodeId(random));
const at = (i: number): string => `10.0.0.${i}:1`;
const link = (i: number, isDialled = true): LinkView => ({
  connection: i,
  node: ids[i] as NodeId,
  address: at(i),
  isDialled,
});
const links = (count: number): LinkView[] => Array.from({ length: count }, (_, i) => link(i));

function membersOf(count: number): Members {
  const members = new Members({ random });
  for (let i = 0; i < count; i++) members.learn(ids[i] as NodeId, at(i));
  return members;
}

describe('the choice of peers', () => {
  it('dials as many as are missing, each once', () => {
    const members = membersOf(30);
    const chosen = members.dial(links(3), 1);
    expect(new Set(chosen).size).toBe(chosen.length);
    expect(chosen).toHaveLength(TARGET_PEERS - 3 + 1);
    for (const address of chosen) expect(links(3).map((each) => each.address)).not.toContain(address);
    expect(members.dial(links(3), 2)).toEqual([]);
  });

  it('begins with the contacts while alone', () => {
    const members = membersOf(30);
    members.addContacts(['master1:1', 'master2:1']);
    expect(members.dial([], 1).slice(0, 2).sort()).toEqual(['master1:1', 'master2:1']);
  });

  it('leaves out itself, whom it has a link with, who is gone and who failed a moment ago', () => {
    const members = membersOf(4);
    members.isOwn(at(0));
    members.forget(ids[1] as NodeId);
    members.failed(at(2), 0);
    expect(members.dial([{ ...link(3, false), address: '10.0.0.3:55555' }], 1)).toEqual([]);
    expect(members.dial([], 60_000).sort()).toEqual([at(2), at(3)]);
  });

  it('does not come back soon to one that refused, although it failed since', () => {
    const members = membersOf(1);
    members.refused(at(0), 0);
    members.failed(at(0), 1);
    expect(members.dial([], 100_000)).toEqual([]);
    expect(members.dial([], 121_000)).toEqual([at(0)]);
  });

  it('with enough peers dials one more now and then, and gives one of its own up for it', () => {
    const members = membersOf(30);
    members.dial([], 0);
    for (let i = 0; i < 30; i++) members.connected(at(i));
    const refreshes = Array.from({ length: 60 }, (_, second) => {
      const dialled = members.dial(links(TARGET_PEERS), 1_000 * (second + 1));
      for (const address of dialled) members.connected(address);
      return dialled.length;
    });
    expect(Math.max(...refreshes)).toBe(1);
    expect(refreshes.filter((count) => count === 1).length).toBeGreaterThanOrEqual(4);
    const surplus = members.surplus(links(TARGET_PEERS + 1), 2);
    expect(surplus).toBeGreaterThanOrEqual(0);
    expect(surplus).not.toBe(2);
    expect(members.surplus(links(TARGET_PEERS), 2)).toBeUndefined();
  });

  it('takes in who dials, up to the limit, then parts from another', () => {
    const members = membersOf(0);
    const incoming = Array.from({ length: MAX_PEERS + 1 }, (_, i) => link(i, false));
    expect(members.surplus(incoming.slice(1), 3)).toBeUndefined();
    expect(members.surplus(incoming, 3)).not.toBe(3);
    expect(members.surplus(incoming, 3)).toBeTypeOf('number');
  });

  it('waits longer after each failure but not after a peer that was there, spread by chance, never longer than five seconds', () => {
    const members = membersOf(1);
    for (let i = 0; i < 10; i++) members.failed(at(0), 0);
    members.failed(at(0), 10_000, true);
    expect(members.dial([], 10_500)).toEqual([at(0)]);
    expect(backoffMs(1, 0)).toBe(250);
    expect(backoffMs(1, 0.5)).toBe(375);
    expect(backoffMs(3, 0)).toBe(1_000);
    expect(backoffMs(1_000, 0.999)).toBeLessThanOrEqual(5_000);
  });
});
