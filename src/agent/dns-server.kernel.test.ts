import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import packet from 'dns-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { ip } from '../base/ip.ts';
import { silentLog } from '../base/log.ts';
import { createMetrics, type Metrics } from '../base/metrics.ts';
import { realRandom } from '../base/random.ts';
import { Answerer } from '../dns/answer.ts';
import { NameTable } from '../dns/table.ts';
import { Zones } from '../dns/zones.ts';
import { openInNamespace } from '../kernel/real-contract.ts';
import type { OpenKernel } from '../kernel/samples-contract.ts';
import { openUdp } from '../kernel/udp/real.ts';
import { frame, FrameReader } from './dns-frames.ts';
import { DnsServer } from './dns-server.ts';

type Answer = packet.DecodedPacket & { readonly rcode: string; readonly answers: packet.Answer[] };

/** What a fake upstream makes of a query; `undefined` = it says nothing. */
type Upstream = (query: packet.DecodedPacket) => Buffer | undefined;

let opened: OpenKernel;
let metrics: Metrics;
let server: DnsServer;
const closers: (() => unknown)[] = [];

async function upstream(udp: Upstream, tcp: Upstream = udp): Promise<number> {
  const socket: UdpSocket = createSocket('udp4');
  socket.on('message', (bytes, from) => {
    const answer = udp(packet.decode(bytes));
    if (answer !== undefined) socket.send(answer, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  const listener: Server = createServer((client) => {
    const reader = new FrameReader();
    client.on('data', (chunk) => {
      for (const bytes of reader.push(chunk)) {
        const answer = tcp(packet.decode(bytes));
        if (answer !== undefined) client.write(frame(answer));
      }
    });
    client.on('error', () => client.destroy());
  });
  listener.listen(port, '127.0.0.1');
  await once(listener, 'listening');
  closers.push(
    () => socket.close(),
    () => listener.close(),
  );
  return port;
}

const positive =
  (count: number, options: { readonly flags?: number } = {}): Upstream =>
  (query) =>
    packet.encode({
      type: 'response',
      id: query.id ?? 0,
      flags: packet.RECURSION_AVAILABLE | (options.flags ?? 0),
      questions: query.questions ?? [],
      answers: Array.from({ length: count }, (_, i) => ({
        name: query.questions?.[0]?.name ?? '',
        type: 'A' as const,
        ttl: 30,
        data: `192.0.2.${i + 1}`,
      })),
    });

async function start(upstreamPorts: readonly number[], zones: Record<string, number> = {}): Promise<void> {
  const table = new NameTable();
  const addresses = Array.from({ length: 200 }, (_, i) => `9.0.1.${i + 1}`);
  table.set('many', [
    ...addresses.map((text) => record('many.marathon.mesos', text)),
    record('web.marathon.mesos', '9.0.1.7'),
  ]);
  const at = (port: number) => ({ address: ip('127.0.0.1'), port });
  server = await DnsServer.open(
    { udp: openUdp(), clock: realClock, random: realRandom, log: silentLog, metrics },
    {
      listen: { addresses: [ip('127.0.0.1'), ip('::1')], port: 0 },
      answerer: new Answerer({ names: table, zones: () => new Zones({ reverse: [] }) }),
      rules: {
        upstreams: upstreamPorts.map(at),
        zones: new Map(Object.entries(zones).map(([zone, port]) => [zone, [at(port)]])),
      },
    },
  );
  closers.push(() => server.close());
}

const record = (name: string, address: string) =>
  ({ name, ttl: 60, preferred: true, data: { type: 'A', address: ip(address) } }) as const;

const query = (name: string, type: packet.RecordType = 'A', udpPayloadSize?: number): Buffer =>
  packet.encode({
    type: 'query',
    id: 1 + Math.floor(Math.random() * 65_000),
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type }],
    additionals:
      udpPayloadSize === undefined
        ? []
        : [{ name: '.', type: 'OPT', udpPayloadSize, flags: 0, options: [] } as never],
  });

async function askUdp(bytes: Buffer, host: '127.0.0.1' | '::1' = '127.0.0.1'): Promise<Answer> {
  const client = createSocket(host === '::1' ? 'udp6' : 'udp4');
  const port = server.ports[host === '::1' ? 1 : 0]?.udp;
  client.send(bytes, port, host);
  const [answer] = (await once(client, 'message')) as [Buffer];
  client.close();
  expect(answer.readUInt16BE(0)).toBe(bytes.readUInt16BE(0));
  return packet.decode(answer) as Answer;
}

async function openTcp(): Promise<{ socket: Socket; answers: Answer[] }> {
  const socket = connect(server.ports[0]?.tcp ?? 0, '127.0.0.1');
  const answers: Answer[] = [];
  const reader = new FrameReader();
  socket.on('data', (chunk) => {
    for (const bytes of reader.push(chunk)) answers.push(packet.decode(bytes) as Answer);
  });
  socket.on('error', () => socket.destroy());
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  return { socket, answers };
}

beforeEach(async () => {
  opened = await openInNamespace();
  await opened.kernel.apply([{ do: 'link-set', name: 'lo', settings: { up: true } }]);
  metrics = createMetrics();
});
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  await opened.close();
});

describe('the DNS server', () => {
  it('answers what it knows by UDP and by TCP, IPv4 and IPv6', async () => {
    await start([]);
    for (const host of ['127.0.0.1', '::1'] as const)
      expect((await askUdp(query('web.marathon.mesos'), host)).answers).toMatchObject([{ data: '9.0.1.7' }]);
    const { socket, answers } = await openTcp();
    socket.write(frame(query('web.marathon.mesos')));
    await expect.poll(() => answers.length).toBe(1);
    expect(answers[0]?.answers).toMatchObject([{ data: '9.0.1.7' }]);
  });

  it('cuts a long answer by UDP, and gives all of it by TCP', async () => {
    await start([]);
    const short = await askUdp(query('many.marathon.mesos'));
    expect(short).toMatchObject({ flag_tc: true });
    expect(short.answers.length).toBeLessThan(40);
    expect((await askUdp(query('many.marathon.mesos', 'A', 4096))).answers.length).toBe(200);
    const { socket, answers } = await openTcp();
    socket.write(frame(query('many.marathon.mesos')));
    await expect.poll(() => answers[0]?.answers.length).toBe(200);
  });

  it('takes queries by TCP in any pieces, many one after the other', async () => {
    await start([]);
    const { socket, answers } = await openTcp();
    const bytes = Buffer.concat(Array.from({ length: 50 }, () => frame(query('web.marathon.mesos'))));
    for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7));
    await expect.poll(() => answers.length).toBe(50);
  });

  it('closes connections above its limit of one client, and takes new ones when others have gone', async () => {
    await start([]);
    const all = await Promise.all(Array.from({ length: 30 }, openTcp));
    await expect.poll(() => all.filter(({ socket }) => !socket.destroyed).length).toBe(25);
    for (const { socket } of all) socket.destroy();
    await expect
      .poll(async () => {
        const { socket, answers } = await openTcp();
        socket.write(frame(query('web.marathon.mesos')));
        await Promise.race([once(socket, 'close'), once(socket, 'data')]);
        return answers.length;
      })
      .toBe(1);
  });

  it('asks an upstream for other names, and keeps what it said', async () => {
    let asked = 0;
    const port = await upstream((each) => {
      asked++;
      return positive(1)(each);
    });
    await start([port]);
    for (let i = 0; i < 3; i++)
      expect(await askUdp(query('Www.Example.com'))).toMatchObject({
        rcode: 'NOERROR',
        questions: [{ name: 'Www.Example.com' }],
        answers: [{ data: '192.0.2.1' }],
      });
    expect(asked).toBe(1);
    const text = await metrics.expose();
    expect(text).toMatch(/dns_forwarder_requests_duration_seconds_count\{zone="\."\} 1/);
    expect(text).toMatch(/dns_queries_total\{outcome="forwarded"\} 3/);
  });

  it('takes the first answer: a dead, a silent or a babbling upstream holds nobody up', async () => {
    const good = await upstream(positive(1));
    const silent = await upstream(() => undefined);
    const babbling = await upstream((each) => {
      const garbage = Buffer.alloc(60, 0xc0);
      garbage.writeUInt16BE(each.id ?? 0, 0);
      return garbage;
    });
    for (const other of [silent, babbling, 9]) {
      await start([other, good]);
      expect(await askUdp(query(`with-${other}.example`))).toMatchObject({ rcode: 'NOERROR' });
    }
    // The babbling one's failure is on record.
    expect(await metrics.expose()).toMatch(/dns_worker_failures_total\{[^}]*reason="malformed"\} 1/);
  });

  it('says SERVFAIL when nobody listens there, and when all fail', async () => {
    const failing = await upstream((each) => {
      const answer = positive(0)(each) as Buffer;
      answer[3] = 0x82;
      return answer;
    });
    await start([failing, 9]);
    expect(await askUdp(query('x.example'))).toMatchObject({
      rcode: 'SERVFAIL',
      questions: [{ name: 'x.example' }],
    });
    expect(await metrics.expose()).toMatch(/reason="econnrefused"/);
  });

  it('says SERVFAIL after the time is up when an upstream never answers, and serves others meanwhile', async () => {
    const silent = await upstream(() => undefined);
    await start([silent]);
    const waiting = askUdp(query('never.example'));
    expect((await askUdp(query('web.marathon.mesos'))).answers.length).toBe(1);
    expect(await waiting).toMatchObject({ rcode: 'SERVFAIL' });
  });

  it('gives a late answer as soon as it is there', async () => {
    const late = createSocket('udp4');
    closers.push(() => late.close());
    const waiting: (() => void)[] = [];
    late.on('message', (bytes, from) => {
      waiting.push(() => late.send(positive(1)(packet.decode(bytes)) ?? '', from.port, from.address));
    });
    late.bind(0, '127.0.0.1');
    await once(late, 'listening');
    await start([late.address().port]);
    const answer = askUdp(query('late.example'));
    await expect.poll(() => waiting.length).toBe(1);
    waiting[0]?.();
    expect(await answer).toMatchObject({ rcode: 'NOERROR' });
  });

  it('asks by TCP for what an upstream cut, and cuts it for its client in turn', async () => {
    const port = await upstream(positive(0, { flags: packet.TRUNCATED_RESPONSE }), positive(120));
    await start([port]);
    expect((await askUdp(query('big.example', 'A', 4096))).answers.length).toBe(120);
    expect(await askUdp(query('big.example'))).toMatchObject({ flag_tc: true, answers: [] });
    const { socket, answers } = await openTcp();
    socket.write(frame(query('big.example')));
    await expect.poll(() => answers[0]?.answers.length).toBe(120);
  });

  it('asks the servers of the longest zone', async () => {
    const [rest, corp] = [await upstream(positive(1)), await upstream(positive(2))];
    await start([rest], { 'corp.example': corp });
    expect((await askUdp(query('a.corp.example'))).answers.length).toBe(2);
    expect((await askUdp(query('a.example'))).answers.length).toBe(1);
  });

  it('survives whatever is thrown at it', async () => {
    await start([]);
    const client = createSocket('udp4');
    const port = server.ports[0]?.udp;
    for (let i = 0; i < 2000; i++) {
      const bytes = query('web.marathon.mesos', 'A', 1232);
      for (let k = 0; k < 1 + (i % 5); k++)
        bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256);
      client.send(i % 3 === 0 ? bytes.subarray(0, i % bytes.length) : bytes, port, '127.0.0.1');
    }
    const { socket } = await openTcp();
    socket.write(Buffer.from([0xff, 0xff, 1, 2, 3]));
    const again = await openTcp();
    again.socket.write(Buffer.alloc(4000, 0xc0));
    expect((await askUdp(query('web.marathon.mesos'))).answers).toMatchObject([{ data: '9.0.1.7' }]);
    client.close();
  });
});
