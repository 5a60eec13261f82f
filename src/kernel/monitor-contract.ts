/** Cases of notifications, and of sysctls and namespaces. */
import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip } from '../base/ip.ts';
import { macFromBytes, type Mac } from '../base/mac.ts';
import { mac, bridge, add, set, remove, route, neighbour, fdb, vtep, type Case } from './samples-contract.ts';
import {
  isErrno,
  PROTOCOL_PORTOLAN,
  TABLE_HOSTS,
  type KernelEvent,
  type KernelOperation,
  type Rule,
} from './types.ts';

const manyMac = (i: number): Mac => macFromBytes(Uint8Array.of(0x70, 0xb3, 0xd5, 0x81, i >> 8, i & 255));

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

    it('reads and writes the receive offload of a device as if it were a sysctl', async () => {
      const { kernel } = given();
      await kernel.apply([add('b0', bridge)]);
      expect(await kernel.readSysctl('net/ethtool/b0/gro')).toBe('1');
      await kernel.writeSysctl('net/ethtool/b0/gro', '0');
      expect(await kernel.readSysctl('net/ethtool/b0/gro')).toBe('0');
      await expect(kernel.writeSysctl('net/ethtool/b0/gro', 'off')).rejects.toSatisfy((error) =>
        isErrno(error, 'EINVAL'),
      );
      await kernel.apply([{ do: 'link-delete', name: 'b0' }]);
      expect(await kernel.readSysctl('net/ethtool/b0/gro')).toBeUndefined();
      await expect(kernel.writeSysctl('net/ethtool/b0/gro', '1')).rejects.toSatisfy((error) =>
        isErrno(error, 'ENODEV'),
      );
      await kernel.apply([add('b0', bridge)]);
      expect(await kernel.readSysctl('net/ethtool/b0/gro')).toBe('1');
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
      const opened = await given().kernel.openNamespace(one);
      expect(opened.inode).toBe(inode);
      expect(given().kernel.inode).not.toBe(inode);
      opened.close();
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

    /** Waits until the events have one of each object, with this change. */
    async function seen(events: readonly KernelEvent[], change: KernelEvent['change']): Promise<void> {
      await expect
        .poll(() =>
          objects.filter((object) =>
            events.some((event) => event.object === object && event.change === change),
          ),
        )
        .toEqual(objects);
    }

    it('tells what others change, with its link and a line', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().opened.interfere(everything);
      await seen(events, 'new');
      const made = events.find(({ object, link }) => object === 'route' && link === 'vtep');
      expect(made?.link).toBe('vtep');
      await given().opened.interfere(nothing);
      await seen(events, 'delete');
      const texts = events.filter(({ object }) => object === 'fdb').map(({ text }) => text);
      expect(texts).toEqual([
        `${mac(2)} dev vtep dst 10.0.0.2 self permanent`,
        `Deleted ${mac(2)} dev vtep dst 10.0.0.2 self permanent`,
      ]);
      monitor.close();
    });

    it('tells at once, when it is asked to, what has happened until then', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().opened.interfere(everything);
      while (!monitor.read());
      expect(objects.filter((object) => !events.some((event) => event.object === object))).toEqual([]);
      monitor.close();
      expect(monitor.read()).toBe(true);
    });

    /** All that is told of what `change` did, and not of what the kernel does by itself in answer. */
    async function told(
      change: () => Promise<void>,
      asked = /9\.0\.1\.0\/24|priority 30000|44\.128\.0\.[12]|70:b3|nft/,
    ): Promise<readonly string[]> {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await change();
      // What comes after all of it.
      await given().opened.interfere([add('end', bridge)]);
      await expect.poll(() => events.some(({ link }) => link === 'end')).toBe(true);
      monitor.close();
      return events.map(({ object, text }) => `${object} ${text}`).filter((line) => asked.test(line));
    }

    it('does not tell what this handle changes', async () => {
      expect(
        await told(async () => {
          await given().done(...everything);
          await given().done(...nothing);
        }),
      ).toEqual([]);
    });

    it('does not tell of many changes by this handle, but of those that somebody else makes meanwhile', async () => {
      await given().done(...vtep);
      const many = Array.from({ length: 2_000 }, (_, i): readonly KernelOperation[] => [
        {
          do: 'neighbour-replace',
          neighbour: neighbour({ address: ip(`44.128.${8 + (i >> 8)}.${i & 255}`) }),
        },
        { do: 'fdb-replace', entry: fdb({ destination: ip(`10.1.${i >> 8}.${i & 255}`), mac: manyMac(i) }) },
      ]).flat();
      const other = fdb({ mac: mac(3), destination: ip('10.0.0.3') });
      const lines = await told(async () => {
        const done = given().done(...many);
        await given().opened.interfere([{ do: 'fdb-replace', entry: other }]);
        await done;
      });
      expect(lines).toEqual([`fdb ${mac(3)} dev vtep dst 10.0.0.3 self permanent`]);
    });

    it('does not tell of links that are made elsewhere, but of what somebody else does to their bridge', async () => {
      const { kernel, opened } = given();
      const [path] = opened.namespaces;
      const veth = (i: number): KernelOperation =>
        add(
          `v${i}`,
          { kind: 'veth', peer: { name: `e${i}`, namespacePath: path } },
          { master: 'br', up: true, alias: `v${i}` },
        );
      const lines = await told(async () => {
        await given().done(add('br', bridge, { up: true, mac: mac(9) }));
        const made = Array.from({ length: 24 }, (_, i) => kernel.apply([veth(i)], { elsewhere: true }));
        await made[3];
        await opened.interfere([set('br', { mtu: 1400 })]);
        expect((await Promise.all(made)).flat()).toEqual([]);
      }, /^link (br|v\d+) /);
      expect(lines).toEqual([expect.stringMatching(/^link br .*mtu 1400/)]);
    });

    it('tells when somebody changes nftables', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      given().opened.interfereNft();
      await expect.poll(() => events.some(({ object }) => object === 'nft')).toBe(true);
      monitor.close();
    });

    it('does not tell its own changes of nftables', async () => {
      expect(
        await told(() =>
          given()
            .kernel.nft.replace({ family: 'inet', name: 'ours', sets: [], chains: [] })
            .then(() => undefined),
        ),
      ).toEqual([]);
    });

    it('tells the mark of a link under whatever name', async () => {
      const events: KernelEvent[] = [];
      await given().done(add('br', bridge, { alias: 'portolan:bridge/dcos' }));
      const monitor = await given().kernel.monitor((event) => events.push(event));
      await given().opened.interfere([set('br', { rename: 'stolen' })]);
      await expect
        .poll(() => events.find(({ link }) => link === 'stolen'))
        .toMatchObject({ object: 'link', alias: 'portolan:bridge/dcos' });
      monitor.close();
    });

    it('tells what forwarding is set to', async () => {
      const events: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => events.push(event));
      for (const key of [
        'net/ipv4/ip_forward',
        'net/ipv6/conf/all/forwarding',
        'net/ipv4/conf/all/rp_filter',
      ]) {
        await given().kernel.writeSysctl(key, '1');
        await expect
          .poll(() => events.find(({ sysctls }) => sysctls?.[key] !== undefined))
          .toMatchObject({ object: 'sysctl', sysctls: { [key]: '1' } });
      }
      monitor.close();
    });

    it('is silent once closed', async () => {
      const events: KernelEvent[] = [];
      const closed = await given().kernel.monitor((event) => events.push(event));
      closed.close();
      const others: KernelEvent[] = [];
      const monitor = await given().kernel.monitor((event) => others.push(event));
      await given().opened.interfere(everything);
      await seen(others, 'new');
      expect(events).toEqual([]);
      monitor.close();
    });
  });
}
