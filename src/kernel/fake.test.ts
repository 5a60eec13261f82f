import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../base/ip.ts';
import { kernelContract } from './contract.ts';
import { FakeKernel } from './fake.ts';
import { nftContract } from './nft/contract.ts';
import type { KernelEvent } from './types.ts';

kernelContract('the kernel in memory', () => {
  const kernel = new FakeKernel();
  const namespaces = ['/run/netns/one', '/run/netns/two'] as const;
  for (const path of namespaces) kernel.addNamespace(path);
  return {
    kernel,
    namespaces,
    interfere: async (operations) => {
      expect(kernel.interfere(operations)).toEqual([]);
    },
    interfereNft: () => kernel.nft.flush(),
    close: () => kernel.close(),
  };
});

nftContract('nftables in memory', () => ({ nft: new FakeKernel().nft, close: () => undefined }));

describe('the kernel in memory, as a test double', () => {
  it('fails by name, once, and then works', async () => {
    const kernel = new FakeKernel();
    kernel.failNext('link-add', 'ENOMEM');
    const add = { do: 'link-add', name: 'br', link: { kind: 'bridge' }, settings: {} } as const;
    const failures = await kernel.apply([add, add]);
    expect(failures.map(({ index, error }) => `${index} ${error.code}`)).toEqual(['0 ENOMEM']);
    expect(await kernel.link('br')).toBeDefined();
  });

  it('fails readings and nftables by name', async () => {
    const kernel = new FakeKernel();
    kernel.failNext('read', 'EINTR');
    kernel.failNext('nft-change', 'ENOBUFS');
    await expect(kernel.links()).rejects.toThrow('EINTR');
    await expect(kernel.nft.change({ family: 'inet', name: 'x' }, [])).rejects.toThrow('ENOBUFS');
    expect(await kernel.links()).toHaveLength(1);
  });

  it('takes the peer of a veth along when a namespace goes', async () => {
    const kernel = new FakeKernel();
    kernel.addNamespace('/run/netns/c1');
    const peer = { name: 'eth0', namespacePath: '/run/netns/c1' };
    await kernel.apply([{ do: 'link-add', name: 'v', link: { kind: 'veth', peer }, settings: {} }]);
    kernel.removeNamespace('/run/netns/c1');
    expect(await kernel.link('v')).toBeUndefined();
    expect(await kernel.namespaceInode('/run/netns/c1')).toBeUndefined();
  });

  it('tells of an overrun and of foreign changes of nftables', async () => {
    const kernel = new FakeKernel();
    const events: KernelEvent[] = [];
    await kernel.monitor((event) => events.push(event));
    kernel.overrun();
    kernel.nft.flush();
    await expect.poll(() => events.map(({ object }) => object)).toEqual(['overrun', 'nft']);
  });

  it('deletes the connections of an address, addressed or translated', async () => {
    const kernel = new FakeKernel();
    const translated = { address: ip('9.0.1.2'), port: 80 };
    kernel.connections = [
      { protocol: 17, destination: ip('11.0.0.1'), port: 53, translated },
      { protocol: 17, destination: ip('9.0.1.2'), port: 80 },
      { protocol: 6, destination: ip('9.0.1.2'), port: 80 },
    ];
    expect(await kernel.deleteConnections({ protocol: 17, port: 53, untranslated: true })).toBe(0);
    expect(await kernel.deleteConnections({ within: prefix('11.0.0.0/8'), untranslated: true })).toBe(0);
    expect(await kernel.deleteConnections({ within: prefix('9.0.2.0/24') })).toBe(0);
    const udp = { address: ip('9.0.1.2'), protocol: 17, port: 80 };
    const addressed = { address: ip('11.0.0.1'), port: 53 };
    expect(await kernel.deleteConnections({ ...udp, addressed: { ...addressed, port: 54 } })).toBe(0);
    expect(await kernel.deleteConnections({ ...udp, addressed })).toBe(1);
    expect(await kernel.deleteConnections(udp)).toBe(1);
    expect(kernel.connections).toHaveLength(1);
    expect(await kernel.deleteConnections({ within: prefix('9.0.1.0/24'), untranslated: true })).toBe(1);
  });

  it('remembers what was asked for', async () => {
    const kernel = new FakeKernel();
    const route = {
      destination: prefix('9.0.1.0/24'),
      table: 254,
      protocol: 225,
      metric: 0,
      gateway: undefined,
      link: 'none',
      onlink: false,
    };
    await kernel.apply([{ do: 'route-replace', route }]);
    expect(kernel.performed.map((operation) => operation.do)).toEqual(['route-replace']);
  });
});
