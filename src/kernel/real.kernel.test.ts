import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { kernelContract } from './contract.ts';
import { openInNamespace } from './real-contract.ts';
import { add, bridge, remove } from './samples-contract.ts';

kernelContract('the kernel', openInNamespace);

describe('the real kernel', () => {
  it('comes back from another namespace also after an error there', async () => {
    const opened = await openInNamespace();
    try {
      const before = await opened.kernel.namespaceInode('/proc/thread-self/ns/net');
      const other = await opened.kernel.openNamespace(opened.namespaces[0]);
      await expect(other.writeSysctl('net.ipv4.ip_forward', 'nonsense')).rejects.toThrow('EINVAL');
      expect(await opened.kernel.namespaceInode('/proc/thread-self/ns/net')).toBe(before);
      other.close();
    } finally {
      await opened.close();
    }
  });

  it('reads several namespaces at once', async () => {
    const opened = await openInNamespace();
    try {
      const { kernel, namespaces } = opened;
      const others = await Promise.all(namespaces.map((path) => kernel.openNamespace(path)));
      for (const [i, other] of others.entries()) {
        const address = interfaceAddress(`9.0.${i}.1/24`);
        await other.apply([add('b0', bridge), { do: 'address-replace', address: { link: 'b0', address } }]);
      }
      const read = await Promise.all(others.map((other) => other.addresses({ link: 'b0' })));
      const texts = read.map((found) => found.map(({ address }) => String(address)));
      expect(texts).toEqual(others.map((_, i) => expect.arrayContaining([`9.0.${i}.1/24`]) as string[]));
      for (const other of others) other.close();
    } finally {
      await opened.close();
    }
  });

  it('reads the sysctl of a device anew when another one has its name', async () => {
    const opened = await openInNamespace();
    try {
      const { kernel } = opened;
      const key = 'net/ipv4/conf/b0/rp_filter';
      expect(await kernel.readSysctl(key)).toBeUndefined();
      for (const value of ['2', '1']) {
        expect(await kernel.apply([add('b0', bridge)])).toEqual([]);
        await kernel.writeSysctl(key, value);
        for (let again = 0; again < 2; again++) expect(await kernel.readSysctl(key)).toBe(value);
        await kernel.writeSysctl(key, '0');
        expect(await kernel.readSysctl(key)).toBe('0');
        expect(await kernel.apply([remove('b0')])).toEqual([]);
        // The link is gone by its name a moment before its sysctls are.
        await expect.poll(() => kernel.readSysctl(key)).toBeUndefined();
      }
    } finally {
      await opened.close();
    }
  });

  it('makes bridges whose ports cost no multicast timers', async () => {
    const opened = await openInNamespace();
    try {
      expect(await opened.kernel.apply([add('b0', bridge)])).toEqual([]);
      const shown = execFileSync('ip', ['-j', '-d', 'link', 'show', 'b0'], { encoding: 'utf8' });
      expect(JSON.parse(shown)).toMatchObject([{ linkinfo: { info_data: { mcast_snooping: 0 } } }]);
    } finally {
      await opened.close();
    }
  });

  it('takes no other kind of namespace and no plain file for a network namespace', async () => {
    const opened = await openInNamespace();
    try {
      for (const path of ['/proc/self/ns/mnt', '/etc/hostname']) {
        expect(await opened.kernel.namespaceInode(path)).toBeUndefined();
        await expect(opened.kernel.openNamespace(path)).rejects.toThrow('it is no network namespace');
      }
    } finally {
      await opened.close();
    }
  });

  it('deletes the tracked connections of an address, as addressed and as translated', async () => {
    const opened = await openInNamespace();
    try {
      const { kernel } = opened;
      await kernel.apply([
        { do: 'link-set', name: 'lo', settings: { up: true } },
        { do: 'address-replace', address: { link: 'lo', address: interfaceAddress('9.0.1.2/32') } },
        {
          do: 'route-replace',
          route: {
            destination: prefix('11.0.0.0/8'),
            table: 254,
            protocol: 225,
            metric: 0,
            gateway: undefined,
            link: 'lo',
            onlink: false,
          },
        },
      ]);
      await kernel.nft.run(`table ip vips {
        chain out { type nat hook output priority -100; ip daddr 11.0.0.1 udp dport 53 dnat to 9.0.1.2:5300; }
      }`);
      const send = (address: string, port: number): Promise<void> =>
        new Promise((resolve, reject) => {
          const socket = createSocket('udp4');
          socket.send('x', port, address, (error) => {
            socket.close();
            if (error) reject(error);
            else resolve();
          });
        });
      await send('11.0.0.1', 53);
      await send('9.0.1.2', 5300);
      await send('9.0.1.2', 5301);
      const udp = { protocol: 17, address: ip('9.0.1.2') };
      await send('9.0.1.2', 53);
      expect(await kernel.deleteConnections({ protocol: 17, port: 53, untranslated: true })).toBe(1);
      expect(await kernel.deleteConnections({ ...udp, protocol: 6 })).toBe(0);
      expect(await kernel.deleteConnections({ within: prefix('11.0.0.0/8'), untranslated: true })).toBe(0);
      await send('11.0.0.2', 53);
      expect(await kernel.deleteConnections({ within: prefix('12.0.0.0/8'), untranslated: true })).toBe(0);
      expect(await kernel.deleteConnections({ within: prefix('11.0.0.0/8'), untranslated: true })).toBe(1);
      const addressed = (port: number) => ({
        ...udp,
        port: 5300,
        addressed: { address: ip('11.0.0.1'), port },
      });
      expect(await kernel.deleteConnections(addressed(54))).toBe(0);
      expect(await kernel.deleteConnections(addressed(54), addressed(53))).toBe(1);
      expect(await kernel.deleteConnections({ ...udp, port: 5300 })).toBe(1);
      expect(await kernel.deleteConnections(udp)).toBe(1);
      expect(await kernel.deleteConnections(udp)).toBe(0);
    } finally {
      await opened.close();
    }
  });
});
