import { execFileSync } from 'node:child_process';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { ip } from '../../base/ip.ts';
import { memoryLog } from '../../base/log.ts';
import { macFromBytes } from '../../base/mac.ts';
import { openInNamespace } from '../real-contract.ts';
import { vtep } from '../samples-contract.ts';
import type { KernelEvent, KernelOperation } from '../types.ts';
import { Echoes } from './echoes.ts';
import { NetlinkMonitor, NFT_GROUPS, ROUTE_GROUPS } from './monitor.ts';
import { OwnPorts } from './own-ports.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from './socket.ts';

const entry = (i: number): KernelOperation => ({
  do: 'fdb-replace',
  entry: {
    link: 'vtep',
    mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, i >> 8, i & 255)),
    destination: ip('10.0.0.2'),
    permanent: true,
  },
});

describe('the monitor of the kernel', () => {
  it('tells one overrun when notifications were lost, and goes on', async () => {
    const opened = await openInNamespace();
    const clock = new ManualClock();
    const log = memoryLog();
    const events: KernelEvent[] = [];
    const monitor = new NetlinkMonitor(
      {
        clock,
        log,
        routeSocket: new NetlinkSocket(
          {},
          { protocol: NETLINK_ROUTE, groups: ROUTE_GROUPS, queueBytes: 65_536 },
        ),
        nftSocket: new NetlinkSocket({}, { protocol: NETLINK_NETFILTER, groups: NFT_GROUPS }),
        ownPorts: new OwnPorts(),
        echoes: new Echoes(),
        nameOf: () => 'vtep',
      },
      { onEvent: (event) => events.push(event) },
    );
    try {
      await opened.interfere([...vtep, ...Array.from({ length: 1000 }, (_, i) => entry(i))]);
      clock.advance(1000);
      const count = (object: KernelEvent['object']): number =>
        events.filter((event) => event.object === object).length;
      expect(count('overrun')).toBe(1);
      expect(count('fdb')).toBeLessThan(1000);
      expect(log.lines.map(({ message }) => message)).toEqual(['kernel notifications were lost']);
      const before = count('fdb');
      await opened.interfere([entry(2000)]);
      await expect.poll(() => (clock.advance(25), count('fdb'))).toBe(before + 1);
    } finally {
      monitor.close();
      await opened.close();
    }
  });

  it('does not tell what the kernel learns about neighbours, but of those that somebody sets', async () => {
    const opened = await openInNamespace();
    const events: KernelEvent[] = [];
    const monitor = await opened.kernel.monitor((event) => events.push(event));
    const [there] = opened.namespaces;
    const run = (command: string): void => void execFileSync('sh', ['-ec', command]);
    const lines = (): string[] =>
      events.filter(({ object }) => object === 'neighbour').map(({ text }) => text.split(' ')[0] ?? '');
    try {
      run(`ip link add here type veth peer name there netns ${basename(there)}`);
      run(`nsenter --net=${there} sh -ec 'ip addr add 10.9.0.2/24 dev there; ip link set there up'`);
      run('ip addr add 10.9.0.1/24 dev here; ip link set here up; ping -q -c 1 -W 2 10.9.0.2');
      run('ip neigh show 10.9.0.2 | grep -q lladdr');
      run('ip neigh add 10.9.0.3 dev here lladdr 02:00:00:00:00:03 nud permanent');
      run('ip neigh add 10.9.0.4 dev here lladdr 02:00:00:00:00:04 nud reachable');
      await expect.poll(lines).toEqual(['10.9.0.3', '10.9.0.4']);
    } finally {
      monitor.close();
      await opened.close();
    }
  });
});
