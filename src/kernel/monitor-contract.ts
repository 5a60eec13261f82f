/** Cases of notifications, and of sysctls and namespaces. */
import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip } from '../base/ip.ts';
import { mac, bridge, add, remove, route, neighbour, fdb, vtep, type Case } from './samples-contract.ts';
import {
  isErrno,
  PROTOCOL_PORTOLAN,
  TABLE_HOSTS,
  type KernelEvent,
  type KernelOperation,
  type Rule,
} from './types.ts';

/** `given` is the case at hand. */
export function monitorCases(given: () => Case): void {
  describe('sysctls and namespaces', () => {
    it('reads and writes sysctls by either spelling', async () => {
      await given().kernel.writeSysctl('net.ipv4.ip_forward', '1');
      expect(await given().kernel.readSysctl('net/ipv4/ip_forward')).toBe('1');
      expect(await given().kernel.readSysctl('net.ipv4.no_such_thing')).toBeUndefined();
      await expect(given().kernel.writeSysctl('net.ipv4.no_such_thing', '1')).rejects.toSatisfy((error) =>
        isErrno(error, 'ENOENT'),
      );
      await expect(given().kernel.readSysctl('kernel.hostname')).rejects.toThrow('it is no net sysctl');
    });

    it('keeps namespaces apart', async () => {
      const [one, two] = await Promise.all(
        given().opened.namespaces.map((path) => given().kernel.openNamespace(path)),
      );
      await one?.apply([add('br', bridge)]);
      await one?.writeSysctl('net.ipv4.ip_forward', '1');
      expect((await one?.links())?.map((link) => link.name)).toEqual(['lo', 'br']);
      expect((await two?.links())?.map((link) => link.name)).toEqual(['lo']);
      expect(await two?.readSysctl('net.ipv4.ip_forward')).toBe('0');
      expect(await given().kernel.link('br')).toBeUndefined();
      one?.close();
      two?.close();
    });

    it('tells namespaces by their inode', async () => {
      const [one, two] = given().opened.namespaces;
      const inode = await given().kernel.namespaceInode(one);
      expect(inode).toBeGreaterThan(0);
      expect(await given().kernel.namespaceInode(one)).toBe(inode);
      expect(await given().kernel.namespaceInode(two)).not.toBe(inode);
      expect(await given().kernel.namespaceInode('/nowhere/at-all')).toBeUndefined();
    });

    it('rejects a namespace that is not there', async () => {
      await expect(given().kernel.openNamespace('/nowhere/at-all')).rejects.toThrow('Open network namespace');
    });

    it('finds no connections to delete where there are none', async () => {
      expect(await given().kernel.deleteConnections({ address: ip('9.0.1.2'), protocol: 17, port: 53 })).toBe(
        0,
      );
    });
  });

  describe('the monitor', () => {
    const objects = ['link', 'address', 'route', 'rule', 'neighbour', 'fdb'] as const;
    const rule: Rule = {
      family: 4,
      priority: 30_000,
      from: undefined,
      to: undefined,
      table: TABLE_HOSTS,
      protocol: PROTOCOL_PORTOLAN,
    };
    const everything: readonly KernelOperation[] = [
      ...vtep,
      { do: 'route-replace', route: route() },
      { do: 'rule-add', rule },
      { do: 'neighbour-replace', neighbour: neighbour() },
      { do: 'fdb-replace', entry: fdb() },
    ];
    const nothing: readonly KernelOperation[] = [
      { do: 'fdb-delete', entry: fdb() },
      { do: 'neighbour-delete', neighbour: neighbour() },
      { do: 'rule-delete', rule },
      { do: 'route-delete', route: route() },
      { do: 'address-delete', address: { link: 'vtep', address: interfaceAddress('44.128.0.1/20') } },
      remove('vtep'),
    ];

    /** Waits until the events have one of each object, with this change and maker. */
    async function seen(
      events: readonly KernelEvent[],
      change: KernelEvent['change'],
      own: boolean,
    ): Promise<void> {
      await expect
        .poll(() =>
          objects.filter((object) =>
            events.some((event) => event.object === object && event.change === change && event.own === own),
          ),
        )
        .toEqual(objects);
    }

    it('tells what others change, with its link and a line', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().opened.interfere(everything);
      await seen(events, 'new', false);
      const made = events.find(({ object, link }) => object === 'route' && link === 'vtep');
      expect(made?.link).toBe('vtep');
      await given().opened.interfere(nothing);
      await seen(events, 'delete', false);
      expect(events.filter(({ own }) => own)).toEqual([]);
      monitor.close();
    });

    it('knows what this handle changed as its own', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().done(...everything);
      await seen(events, 'new', true);
      await given().done(...nothing);
      await seen(events, 'delete', true);
      const texts = events.filter(({ object, own }) => own && object === 'fdb').map(({ text }) => text);
      expect(texts).toEqual([
        `${mac(2)} dev vtep dst 10.0.0.2 self permanent`,
        `Deleted ${mac(2)} dev vtep dst 10.0.0.2 self permanent`,
      ]);
      monitor.close();
    });

    it('tells when somebody changes nftables', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().kernel.nft.run('add table inet other');
      await expect.poll(() => events.some(({ object }) => object === 'nft')).toBe(true);
      monitor.close();
    });

    it('knows its own changes of nftables', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().kernel.nft.replace({ family: 'inet', name: 'ours', sets: [], chains: [] });
      await given().done(...everything);
      await seen(events, 'new', true);
      const nft = events.filter(({ object }) => object === 'nft');
      expect(nft.length).toBeGreaterThan(0);
      expect(nft.filter(({ own }) => !own)).toEqual([]);
      monitor.close();
    });

    it('is silent once closed', async () => {
      const events: KernelEvent[] = [];
      const closed = await given().kernel.monitor((event) => events.push(event));
      closed.close();
      const others: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => others.push(event));
      await given().opened.interfere(everything);
      await seen(others, 'new', false);
      expect(events).toEqual([]);
      monitor.close();
    });
  });
}
