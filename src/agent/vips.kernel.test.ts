/** VIPs from records to the kernel and the connections through it, in a namespace of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { interfaceAddress, prefix } from '../base/ip.ts';
import { memoryLog, type Log, type LogLine } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import * as libc from '../kernel/libc.ts';
import { openKernel } from '../kernel/real.ts';
import type { Kernel, KernelEvent } from '../kernel/types.ts';
import { agentConfig } from '../model/config.ts';
import type { RecordValue } from '../model/record.ts';
import { FakeExchange } from '../node/exchange-fake.ts';
import { RecordView } from '../node/record-view.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import { fakeNode, fakeTask } from '../vip/fake.ts';
import { vipRuleset } from '../vip/ruleset.ts';
import type { Reserved } from '../vip/table.ts';
import { Vips } from './vips.ts';

const NAMESPACE = `portolan-vips-${process.pid}`;
const VIP = '11.213.148.254';
const GIVEN = '11.184.98.6';

function enter(path: string): void {
  const fd = openSync(path, 'r');
  expect(libc.setns(fd, libc.CLONE_NEWNET)).toBe(0);
  closeSync(fd);
}

describe('VIPs in the kernel', () => {
  const home = `/proc/${process.pid}/ns/net`;
  let homeFd: number;
  let kernel: Kernel;
  let exchange: FakeExchange;
  let log: Log & { readonly lines: LogLine[] };
  let vips: Vips;
  let reserved: readonly Reserved[] = [];
  const journal = memoryJournal();
  const servers: Server[] = [];
  const listeners: UdpSocket[] = [];

  /** Task `index` serves on 9.0.<index>.2. */
  const put = (
    index: number,
    over: Parameters<typeof fakeTask>[2] = {},
    labels: Readonly<Record<string, string>> = { VIP_0: 'myservice:6666' },
  ): void => {
    const view = fakeTask(index, {}, over);
    const ports = [
      { protocol: 'tcp', container_port: 8080, labels },
      { protocol: 'udp', container_port: 8080, labels: { VIP_0: 'udpsvc:53' } },
    ];
    exchange.put(`node/${fakeNode(index)}/task/t${index}`, { ...view.task, ports } as unknown as RecordValue);
  };
  const open = async (): Promise<void> => {
    const records = new RecordView({ exchange, log }, { onChange: () => undefined });
    vips = new Vips(
      { kernel, journal, clock: realClock, log, metrics: createMetrics(), records },
      {
        node: fakeNode(9),
        config: agentConfig.parse({}).vips,
        surroundings: () => ({ overlays: [prefix('9.0.0.0/8')], reserved }),
        onRoutes: () => undefined,
      },
    );
    await vips.start();
    await vips.settle();
  };
  const dial = async (): Promise<{ readonly name: string; readonly socket: Socket }> => {
    const socket = connect({ host: VIP, port: 6666 });
    const [data] = (await once(socket, 'data')) as [Buffer];
    return { name: data.toString(), socket };
  };
  const name = async (): Promise<string> => {
    try {
      const { name: answer, socket } = await dial();
      socket.destroy();
      return answer;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'failed';
    }
  };
  const names = async (count = 30): Promise<ReadonlySet<string>> => {
    const seen = new Set<string>();
    for (let i = 0; i < count; i++) seen.add(await name());
    return seen;
  };

  beforeAll(async () => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    homeFd = openSync(home, 'r');
    enter(`/run/netns/${NAMESPACE}`);
    kernel = await openKernel({ log: memoryLog() });
    const route = { table: 254, protocol: 4, metric: 0, gateway: undefined, link: 'lo', onlink: false };
    await kernel.apply([
      { do: 'link-set', name: 'lo', settings: { up: true } },
      ...[1, 2, 3].map((index) => ({
        do: 'address-replace' as const,
        address: { link: 'lo', address: interfaceAddress(`9.0.${index}.2/32`) },
      })),
      { do: 'route-replace', route: { ...route, destination: prefix('11.0.0.0/8') } },
    ]);
    for (const index of [1, 2, 3]) {
      const server = createServer((socket) => socket.on('error', () => undefined).write(`web${index}`));
      server.listen(8080, `9.0.${index}.2`);
      await once(server, 'listening');
      servers.push(server);
      const udp = createSocket('udp4');
      udp.on('message', (_data, from) => udp.send(`web${index}`, from.port, from.address));
      udp.bind(8080, `9.0.${index}.2`);
      await once(udp, 'listening');
      listeners.push(udp);
    }
  });
  beforeEach(async () => {
    exchange = new FakeExchange();
    log = memoryLog();
    for (const index of [1, 2, 3]) {
      const record = {
        name: `h${index}`,
        address: `10.0.0.${index}`,
        gossip_port: 1,
        api_port: 2,
        role: 'agent',
      };
      exchange.put(`node/${fakeNode(index)}/node`, record);
      put(index);
    }
    await open();
  });
  afterEach(() => vips.close());
  afterAll(() => {
    for (const server of servers) server.close();
    for (const udp of listeners) udp.close();
    kernel.close();
    expect(libc.setns(homeFd, libc.CLONE_NEWNET)).toBe(0);
    closeSync(homeFd);
    execFileSync('ip', ['netns', 'delete', NAMESPACE]);
  });

  it('lead to the healthy, drain those that are not, and forget those that ended', async () => {
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
    let kept = await dial();
    while (kept.name !== 'web1') {
      kept.socket.destroy();
      kept = await dial();
    }
    put(1, { task: { checked: true, healthy: false } });
    put(2, { task: { state: 'TASK_KILLING' } });
    await vips.settle();
    expect(await names()).toEqual(new Set(['web3']));
    kept.socket.write('still there');
    await new Promise<void>((resolve, reject) => {
      kept.socket.once('error', reject);
      kept.socket.end(resolve);
    });
    put(3, { task: { state: 'TASK_FINISHED' } });
    await vips.settle();
    expect(await names(3)).toEqual(new Set(['ECONNREFUSED']));
    put(1, { task: { checked: true, healthy: true } });
    await vips.settle();
    expect(await names(3)).toEqual(new Set(['web1']));
  });

  it('leave out the unreachable, unless all are', async () => {
    exchange.setReachable(fakeNode(1), false);
    exchange.setReachable(fakeNode(2), false);
    await vips.settle();
    expect(await names()).toEqual(new Set(['web3']));
    exchange.setReachable(fakeNode(3), false);
    await vips.settle();
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
  });

  it('cut the UDP connections of a backend that is gone, and no others', async () => {
    const sockets = Array.from({ length: 12 }, () => createSocket('udp4'));
    const ask = async (socket: UdpSocket): Promise<string> => {
      const answer = once(socket, 'message') as Promise<[Buffer]>;
      socket.send('x', 53, GIVEN);
      return (await answer)[0].toString();
    };
    const before: string[] = [];
    for (const socket of sockets) before.push(await ask(socket));
    expect(new Set(before).size).toBeGreaterThan(1);
    const gone = Number(before[0]?.slice(3));
    put(gone, { task: { state: 'TASK_FAILED' } });
    await vips.settle();
    for (const [i, socket] of sockets.entries()) {
      const answer = await ask(socket);
      if (before[i] === `web${gone}`) expect(answer).not.toBe(before[i]);
      else expect(answer).toBe(before[i]);
      socket.close();
    }
  });

  it('are not interrupted by a restart, which finds everything as it was left', async () => {
    await vips.close();
    const before = await kernel.nft.generation();
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
    await open();
    expect(await kernel.nft.generation()).toBe(before);
    exchange.put(`node/${fakeNode(1)}/task/t1`, null);
    await vips.settle();
    expect(await names()).toEqual(new Set(['web2', 'web3']));
  });

  it('take what was sent to them before there were any', async () => {
    await vips.close();
    // Connections are followed on this host, whoever wants it.
    await kernel.nft.run(`delete table inet portolan_vip
      table inet other { chain out { type filter hook output priority 0; ct state invalid drop; }
      }`);
    const udp = createSocket('udp4');
    const answer = once(udp, 'message') as Promise<[Buffer]>;
    const send = (): void => udp.send('x', 53, GIVEN);
    send();
    const tcp = connect({ host: VIP, port: 6666 });
    const answered = once(tcp, 'data') as Promise<[Buffer]>;
    await open();
    send();
    expect((await answer)[0].toString()).toMatch(/^web/);
    // The kernel sends again by itself.
    expect((await answered)[0].toString()).toMatch(/^web/);
    udp.close();
    tcp.destroy();
    await kernel.nft.run('delete table inet other');
  });

  it('refuse what is no port of theirs, also with a priority that the sender has set', async () => {
    const refusal = async (host: string, port: number): Promise<unknown> => {
      const [error] = (await once(connect({ host, port }), 'error')) as [NodeJS.ErrnoException];
      return error.code;
    };
    expect(await refusal(VIP, 6667)).toBe('ECONNREFUSED');
    await kernel.nft.run(`table inet other { chain out {
        type filter hook output priority -150; meta priority set 3; }
      }`);
    expect(await refusal(VIP, 6667)).toBe('ECONNREFUSED');
    expect(await refusal('11.1.1.1', 6666)).toBe('ECONNREFUSED');
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
    await kernel.nft.run('delete table inet other');
    const pinged = spawnSync('ping', ['-c', '1', '-W', '1', VIP], { encoding: 'utf8' });
    expect(pinged.status).not.toBe(0);
  });

  it('are not there while their range overlaps an overlay or a network of the host, which is told with the remedy', async () => {
    const told = (): unknown[] =>
      log.lines
        .filter(({ message }) => message === 'There are no VIPs on this host')
        .map(({ fields }) => fields['problem']);
    const remedy = 'set vips.range or vips.range6';
    const overlay = 'the range 11.0.0.0/8 of named VIPs overlaps the overlay "wide"';
    reserved = [{ prefix: prefix('11.5.0.0/16'), owner: 'the overlay "wide"' }];
    vips.refresh();
    await vips.settle();
    expect(told()).toEqual([`${overlay}: ${remedy}`]);
    expect(vips.status().problem).toBe(`${overlay}: ${remedy}`);
    expect(vips.routes()).toEqual([]);
    expect(await kernel.nft.fingerprint(vipRuleset({ vips: [], overlays: [] }))).toBeUndefined();
    reserved = [];
    vips.refresh();
    await vips.settle();
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
    const own = { link: 'lo', address: interfaceAddress('11.77.0.1/24') };
    await kernel.apply([{ do: 'address-replace', address: own }]);
    vips.onForeignEvent({ object: 'address', link: 'lo', text: 'address 11.77.0.1/24' } as KernelEvent);
    const host = `the range 11.0.0.0/8 of named VIPs overlaps this host's network 11.77.0.0/24 on lo`;
    await expect.poll(told).toEqual([`${overlay}: ${remedy}`, `${host}: ${remedy}`]);
    await kernel.apply([{ do: 'address-delete', address: own }]);
    vips.onForeignEvent({ object: 'address', link: 'lo', text: 'address 11.77.0.1/24' } as KernelEvent);
    await expect.poll(() => vips.status().problem).toBeUndefined();
    await vips.settle();
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
  });

  it('given by an address of the host or an overlay do not hold, and say whose it is', async () => {
    reserved = [{ prefix: prefix('9.0.0.0/8'), owner: 'the overlay "dcos"' }];
    vips.refresh();
    const give = (address: string): void => put(1, {}, { VIP_0: 'myservice:6666', VIP_1: `${address}:80` });
    for (const [address, owner] of [
      ['9.1.2.3', 'the overlay "dcos"'],
      ['9.0.1.2', 'the overlay "dcos"'],
      ['127.0.0.9', "this host's network 127.0.0.0/8 on lo"],
    ] as const) {
      give(address);
      await vips.settle();
      expect(vips.routes().map(String)).not.toContain(`${address}/32`);
      expect(vips.view.find(`tcp/${address}:80`)).toMatchObject([
        { addresses: [], problem: `${address} belongs to ${owner}: choose another address` },
      ]);
    }
    expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
    reserved = [];
  });

  it('come to be as they should when the kernel was changed while nobody looked', async () => {
    await vips.close();
    await kernel.nft.run('delete table inet portolan_vip');
    exchange.put(`node/${fakeNode(3)}/task/t3`, null);
    await open();
    expect(await names()).toEqual(new Set(['web1', 'web2']));
    expect(vips.status()).toMatchObject({ enabled: true, applied: true });
  });

  it('have a table for bridges from the first local backend on, and until the first look without one', async () => {
    const tables = (): string => execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' });
    const bridged = (): string =>
      execFileSync('nft', ['list', 'map', 'bridge', 'portolan_vip', 'bridged4'], { encoding: 'utf8' });
    const restart = async (): Promise<void> => {
      await vips.close();
      await open();
    };
    const record = { name: 'h9', address: '10.0.0.9', gossip_port: 1, api_port: 2, role: 'agent' };
    execFileSync('sh', ['-ec', 'ip link add m-x type bridge; ip addr add 9.0.9.1/25 dev m-x']);
    try {
      await restart();
      expect(tables()).not.toContain('bridge portolan_vip');
      exchange.put(`node/${fakeNode(9)}/node`, record);
      put(9);
      await expect.poll(tables).toContain('bridge portolan_vip');
      await expect.poll(bridged).toContain('9.0.9.2 . tcp . 8080');
      await restart();
      expect(bridged()).toContain('9.0.9.2 . tcp . 8080');
      exchange.put(`node/${fakeNode(9)}/task/t9`, null);
      await vips.settle();
      expect(await names()).toEqual(new Set(['web1', 'web2', 'web3']));
      await restart();
      expect(tables()).not.toContain('bridge portolan_vip');
      await kernel.nft.run('add table bridge portolan_vip');
      await restart();
      expect(tables()).not.toContain('bridge portolan_vip');
    } finally {
      execFileSync('ip', ['link', 'del', 'm-x']);
    }
  });
});
