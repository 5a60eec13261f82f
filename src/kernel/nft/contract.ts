/** What every `Nft` must do, real or fake. `open` gives an empty ruleset; what it gives is closed by the caller. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip, prefix } from '../../base/ip.ts';
import { isErrno } from '../types.ts';
import { pack, unpack } from './packed.ts';
import {
  elementKey,
  type Nft,
  type NftElement,
  type NftFamily,
  type NftSet,
  type NftTable,
} from './types.ts';

export interface OpenNft {
  readonly nft: Nft;
  close(): Promise<void> | void;
}

const portMap: NftSet = {
  name: 'portMap',
  key: ['inet_proto', 'inet_service'],
  data: ['ipv4_addr', 'inet_service'],
};
const overlays: NftSet = { name: 'overlays', key: ['ipv4_addr'], interval: true };
const addresses6: NftSet = { name: 'addresses6', key: ['ipv6_addr', 'inet_service'] };

const mapping = (port: number, to: string): NftElement => ({ key: [6, port], data: [ip(to), 80] });
const subnet = (text: string): NftElement => ({ key: [prefix(text)] });

function table(family: NftFamily, change: Partial<NftTable> = {}): NftTable {
  return {
    family,
    name: 'contract',
    sets: [
      { ...portMap, elements: [mapping(8080, '9.0.1.3')] },
      { ...overlays, elements: [subnet('9.0.0.0/8'), subnet('10.0.0.0/9')] },
      { ...addresses6, elements: [{ key: [ip('fd01:b::1'), 53] }] },
    ],
    chains: [
      {
        name: 'c-input',
        base: { type: 'filter', hook: 'input', priority: 0, policy: 'accept' },
        rules: ['tcp dport { 80, 443 } counter accept', 'jump c-last'],
      },
      { name: 'c-last', rules: ['meta mark 0x5 return'] },
    ],
    ...change,
  };
}

const sorted = (elements: readonly NftElement[] | undefined): string[] | undefined =>
  elements?.map(elementKey).toSorted();

/** The suite, once for each family. */
export function nftContract(name: string, open: () => Promise<OpenNft> | OpenNft): void {
  describe.each(['inet', 'ip', 'ip6'] as const)(`${name}, family %s`, (family) => {
    let opened: OpenNft;
    let nft: Nft;
    const wanted = table(family);
    const elementsOf = async (set: NftSet): Promise<string[] | undefined> =>
      sorted(await nft.elements(wanted, set));

    beforeEach(async () => {
      opened = await open();
      nft = opened.nft;
    });
    afterEach(() => opened.close());

    it('makes a table with its elements and reads them back', async () => {
      await nft.replace(wanted);
      for (const set of wanted.sets) expect(await elementsOf(set)).toEqual(sorted(set.elements));
    });

    it('gives back addresses of interval sets as prefixes', async () => {
      await nft.replace(
        table(family, { sets: [{ ...overlays, elements: [{ key: [ip('9.0.0.1')] }] }], chains: [] }),
      );
      expect(await elementsOf(overlays)).toEqual(['9.0.0.1/32']);
    });

    it('knows no fingerprint and no elements of what is not there', async () => {
      expect(await nft.fingerprint(wanted)).toBeUndefined();
      expect(await nft.elements(wanted, portMap)).toBeUndefined();
      await nft.replace(wanted);
      expect(await nft.elements(wanted, { ...portMap, name: 'other' })).toBeUndefined();
    });

    it('gives the same fingerprint for the same rules, whatever the elements', async () => {
      const first = await nft.replace(wanted);
      expect(await nft.fingerprint(wanted)).toBe(first);
      await nft.change(wanted, [{ set: portMap, remove: [], add: [mapping(8081, '9.0.1.4')] }]);
      expect(await nft.fingerprint(wanted)).toBe(first);
      expect(await nft.replace(wanted)).toBe(first);
    });

    it('gives another fingerprint for other rules', async () => {
      const first = await nft.replace(wanted);
      const other = table(family, { chains: wanted.chains.map((chain) => ({ ...chain, rules: [] })) });
      expect(await nft.replace(other)).not.toBe(first);
    });

    it('replaces a table whole, elements included', async () => {
      await nft.replace(wanted);
      await nft.replace(table(family, { sets: [{ ...portMap, elements: [] }], chains: [] }));
      expect(await elementsOf(portMap)).toEqual([]);
      expect(await nft.elements(wanted, overlays)).toBeUndefined();
    });

    it('keeps tables of other names and of other families', async () => {
      const others = [{ ...wanted, name: 'other' }, table(family === 'ip' ? 'ip6' : 'ip')];
      for (const other of others) await nft.replace(other);
      await nft.replace(wanted);
      await nft.remove(wanted);
      for (const other of others)
        expect(sorted(await nft.elements(other, portMap))).toEqual(['6 . 8080 : 9.0.1.3 . 80']);
    });

    it('removes a table, and once more without failure', async () => {
      await nft.replace(wanted);
      await nft.remove(wanted);
      expect(await nft.fingerprint(wanted)).toBeUndefined();
      await nft.remove(wanted);
    });

    it('removes and adds elements of several sets at once', async () => {
      await nft.replace(wanted);
      await nft.change(wanted, [
        {
          set: portMap,
          remove: [mapping(8080, '9.0.1.3')],
          add: [mapping(8080, '9.0.1.9'), mapping(53, '9.0.1.3')],
        },
        { set: overlays, remove: [subnet('9.0.0.0/8')], add: [subnet('9.0.0.0/16'), subnet('240.0.0.0/4')] },
        { set: addresses6, remove: [], add: [{ key: [ip('fd01:b::2'), 53] }] },
      ]);
      expect(await elementsOf(portMap)).toEqual(['6 . 53 : 9.0.1.3 . 80', '6 . 8080 : 9.0.1.9 . 80']);
      expect(await elementsOf(overlays)).toEqual(['10.0.0.0/9', '240.0.0.0/4', '9.0.0.0/16']);
      expect(await elementsOf(addresses6)).toEqual(['fd01:b::1 . 53', 'fd01:b::2 . 53']);
    });

    it('removes an element by its key, whatever data it is given with', async () => {
      await nft.replace(wanted);
      await nft.change(wanted, [{ set: portMap, remove: [{ key: [6, 8080] }], add: [] }]);
      expect(await elementsOf(portMap)).toEqual([]);
    });

    it('adds what is there already without failure', async () => {
      await nft.replace(wanted);
      await nft.change(wanted, [{ set: portMap, remove: [], add: [mapping(8080, '9.0.1.3')] }]);
      expect(await elementsOf(portMap)).toEqual(['6 . 8080 : 9.0.1.3 . 80']);
    });

    it('refuses other data for a key that is there with EEXIST', async () => {
      await nft.replace(wanted);
      const change = nft.change(wanted, [{ set: portMap, remove: [], add: [mapping(8080, '9.0.1.4')] }]);
      await expect(change).rejects.toSatisfy((error) => isErrno(error, 'EEXIST'));
      expect(await elementsOf(portMap)).toEqual(['6 . 8080 : 9.0.1.3 . 80']);
    });

    it('removes before it adds, whatever the order of the changes', async () => {
      await nft.replace(wanted);
      await nft.change(wanted, [
        { set: portMap, remove: [], add: [mapping(8080, '9.0.1.4')] },
        { set: portMap, remove: [mapping(8080, '9.0.1.3')], add: [] },
      ]);
      expect(await elementsOf(portMap)).toEqual(['6 . 8080 : 9.0.1.4 . 80']);
    });

    it('changes nothing when one element to remove is absent', async () => {
      await nft.replace(wanted);
      const change = nft.change(wanted, [
        { set: portMap, remove: [], add: [mapping(1, '9.0.1.1')] },
        { set: portMap, remove: [mapping(2, '9.0.1.1')], add: [mapping(3, '9.0.1.1')] },
      ]);
      await expect(change).rejects.toSatisfy((error) => isErrno(error, 'ENOENT'));
      expect(await elementsOf(portMap)).toEqual(['6 . 8080 : 9.0.1.3 . 80']);
    });

    it('rejects changes of a set or table that is not there with ENOENT', async () => {
      const add = [{ set: portMap, remove: [], add: [mapping(1, '9.0.1.1')] }];
      await expect(nft.change(wanted, add)).rejects.toSatisfy((error) => isErrno(error, 'ENOENT'));
    });

    it('has no change to make for an empty list', async () => {
      await nft.replace(wanted);
      const before = await nft.generation();
      await nft.change(wanted, []);
      await nft.change(wanted, [{ set: portMap, remove: [], add: [] }]);
      expect(await nft.generation()).toBe(before);
    });

    it('changes and gives back packed elements, the same as others', async () => {
      await nft.replace(wanted);
      const moved = pack(portMap, mapping(8080, '9.0.1.9'));
      const port53 = pack(portMap, mapping(53, '9.0.1.3'));
      await nft.changePacked(wanted, [
        { set: 'portMap', remove: [moved[0]], add: [moved, port53] },
        { set: 'addresses6', remove: [], add: [pack(addresses6, { key: [ip('fd01:b::2'), 53] })] },
      ]);
      expect(await elementsOf(portMap)).toEqual(['6 . 53 : 9.0.1.3 . 80', '6 . 8080 : 9.0.1.9 . 80']);
      expect(await elementsOf(addresses6)).toEqual(['fd01:b::1 . 53', 'fd01:b::2 . 53']);
      const read = await nft.packed(wanted, 'portMap');
      expect(read?.elements).toEqual(new Map([moved, port53]));
      expect(
        Array.from(read?.elements ?? [], (each) => elementKey(unpack(portMap, ...each))).toSorted(),
      ).toEqual(await elementsOf(portMap));
      expect(await nft.packed(wanted, 'other')).toBeUndefined();
      const taken: (readonly [string, string])[] = [];
      const sink = {
        restart: () => {
          taken.length = 0;
        },
        take: (...element: readonly [string, string]) => taken.push(element) > 0,
      };
      expect(await nft.readPacked(wanted, 'portMap', sink)).toBe(true);
      expect(new Map(taken)).toEqual(read?.elements);
      expect(taken).toHaveLength(2);
      expect(await nft.readPacked(wanted, 'other', sink)).toBe(false);
      expect(taken).toEqual([]);
    });

    it('changes no packed element when one to remove is absent', async () => {
      await nft.replace(wanted);
      const [absent] = pack(portMap, mapping(2, '9.0.1.1'));
      const added = pack(portMap, mapping(3, '9.0.1.1'));
      const change = nft.changePacked(wanted, [{ set: 'portMap', remove: [absent], add: [added] }]);
      await expect(change).rejects.toSatisfy((error) => isErrno(error, 'ENOENT'));
      expect(await elementsOf(portMap)).toEqual(['6 . 8080 : 9.0.1.3 . 80']);
    });

    it('has maps by slot and of priorities', async () => {
      const address = family === 'ip6' ? 'ipv6_addr' : 'ipv4_addr';
      const target = ip(family === 'ip6' ? 'fd01:b::3' : '9.0.1.3');
      const slots: NftSet = { name: 'slots', key: [address, 'slot'], data: [address, 'inet_service'] };
      const priorities: NftSet = { name: 'priorities', key: [address], data: ['classid'] };
      const sets = [
        { ...slots, elements: [{ key: [target, 7], data: [target, 80] }] },
        { ...priorities, elements: [{ key: [target], data: [0x1_0010] }] },
      ];
      await nft.replace({ ...wanted, sets, chains: [] });
      expect(await elementsOf(slots)).toEqual([`${target} . 7 : ${target} . 80`]);
      expect(await elementsOf(priorities)).toEqual([`${target} : 65552`]);
    });

    it('counts for each element of a set that counts', async () => {
      const counted: NftSet = { name: 'counted', key: ['inet_proto', 'inet_service'], counter: true };
      await nft.replace({ ...wanted, sets: [{ ...counted, elements: [] }], chains: [] });
      const element = pack(counted, { key: [6, 80] });
      await nft.changePacked(wanted, [{ set: 'counted', remove: [], add: [element] }]);
      expect(await nft.packed(wanted, 'counted')).toMatchObject({
        elements: new Map([element]),
        packets: new Map([[element[0], 0]]),
      });
    });

    it('has another generation after every change and the same without one', async () => {
      const seen = [await nft.generation()];
      await nft.replace(wanted);
      seen.push(await nft.generation());
      await nft.change(wanted, [{ set: portMap, remove: [], add: [mapping(1, '9.0.1.1')] }]);
      seen.push(await nft.generation());
      await nft.fingerprint(wanted);
      await nft.elements(wanted, portMap);
      expect(await nft.generation()).toBe(seen.at(-1));
      await nft.remove(wanted);
      seen.push(await nft.generation());
      expect(new Set(seen).size).toBe(seen.length);
    });

    it('performs changes in the order they were asked for', async () => {
      await nft.replace(wanted);
      const changes = Array.from({ length: 20 }, (_, i) =>
        nft.change(wanted, [
          {
            set: portMap,
            remove: [mapping(8080, '9.0.1.3')],
            add: [mapping(8080, i === 19 ? '9.0.1.4' : '9.0.1.3')],
          },
        ]),
      );
      await Promise.all(changes);
      expect(await elementsOf(portMap)).toEqual(['6 . 8080 : 9.0.1.4 . 80']);
    });
  });
}
