import { createConnection } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { realClock, type Clock } from '../base/clock.ts';
import { ip } from '../base/ip.ts';
import { memoryLog, silentLog } from '../base/log.ts';
import { FakeUdp } from '../kernel/udp/fake.ts';
import type { Credentials } from '../trust/credentials.ts';
import { testAuthority, testCredentials } from '../trust/fake.ts';
import { peerTransportContract } from './contract.ts';
import { createTcpTransport } from './tcp.ts';
import { createTlsTransport } from './tls.ts';
import type { PeerConnection, PeerListener } from './types.ts';

const udp = new FakeUdp();
const authority = testAuthority();
const ours = testCredentials(authority);
const timeoutMs = 2_000;
const local = { host: '127.0.0.1', port: 0 };
const YEAR_MS = 365 * 86_400_000;

peerTransportContract('the TLS transport', () => ({
  transport: createTlsTransport(
    { clock: realClock, log: silentLog },
    { credentials: () => ours, openMailbox: ({ host, port }) => udp.mailbox(ip(host), port) },
  ),
  host: '127.0.0.1',
}));

describe('the TLS transport', () => {
  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  /** A node that listens, what it has accepted, and what it has logged. */
  async function listening(credentials: () => Credentials = () => ours, clock: Clock = realClock) {
    const log = memoryLog();
    const accepted: PeerConnection[] = [];
    const transport = createTlsTransport({ clock, log }, { credentials });
    const listener: PeerListener = await transport.listen(local, (connection) => accepted.push(connection));
    closers.push(() => listener.close());
    const reasons = (): unknown[] =>
      log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['reason']);
    return { address: listener.address, accepted, log, reasons };
  }

  const as = (credentials: Credentials, log = memoryLog()) =>
    createTlsTransport({ clock: realClock, log }, { credentials: () => credentials });

  it('shows each side whom the other is certified to be', async () => {
    const server = await listening();
    const other = testCredentials(authority);
    const dialled = await as(other).connect(server.address, { timeoutMs });
    await expect.poll(() => server.accepted.map(({ peer }) => peer)).toEqual([other.name.node]);
    expect(dialled.peer).toBe(ours.name.node);
    dialled.close();
  });

  it('lets a stranger see nothing and be seen by nobody, with one line for many attempts', async () => {
    const server = await listening();
    const log = memoryLog();
    const stranger = as(testCredentials(testAuthority()), log);
    for (let i = 0; i < 20; i++)
      await expect(stranger.connect(server.address, { timeoutMs })).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining("not of this cluster's authority") as string,
      });
    const warnings = log.lines.filter(({ level }) => level === 'warn');
    expect(warnings.map(({ fields }) => fields['host'])).toEqual(['127.0.0.1']);
    const own = server
      .reasons()
      .filter((reason) => reason === "its certificate is not of this cluster's authority");
    expect(own.length).toBeLessThanOrEqual(1);
    expect(server.accepted).toEqual([]);
  });

  it('refuses whoever shows no certificate', async () => {
    const server = await listening();
    const socket = connectTls({
      ...server.address,
      rejectUnauthorized: false,
      ALPNProtocols: ['portolan-gossip/1'],
    });
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('close', resolve));
    expect(server.reasons()).toEqual(['it shows no certificate']);
    expect(server.accepted).toEqual([]);
  });

  it('refuses another protocol, garbage and plain text, and goes on', async () => {
    const server = await listening();
    const web = connectTls({ ...server.address, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
    web.on('error', () => undefined);
    await new Promise((resolve) => web.once('close', resolve));
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(70_000, 0x16),
      Buffer.alloc(1),
    ]) {
      const socket = createConnection(server.address);
      socket.on('error', () => undefined);
      socket.end(bytes);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    const plain = await createTcpTransport({ clock: realClock, log: silentLog }).connect(server.address, {
      timeoutMs,
    });
    plain.send(Buffer.from('hello'));
    await new Promise((resolve) => plain.onClose(() => resolve(undefined)));
    expect(server.accepted).toEqual([]);
    const good = await as(testCredentials(authority)).connect(server.address, { timeoutMs });
    await expect.poll(() => server.accepted.length).toBe(1);
    good.close();
  });

  it('tells of clocks that are a year apart, on both sides', async () => {
    const past: Clock = { ...realClock, wallMs: () => realClock.wallMs() - YEAR_MS };
    const server = await listening(() => ours, past);
    const dialled = await as(testCredentials(authority)).connect(server.address, { timeoutMs });
    await new Promise((resolve) => dialled.onClose(() => resolve(undefined)));
    expect(server.reasons()).toEqual([
      expect.stringMatching(/begins at .*clock says .*one of the two clocks/),
    ]);
    const log = memoryLog();
    const behind = createTlsTransport(
      { clock: past, log },
      { credentials: () => testCredentials(authority) },
    );
    const present = await listening();
    await expect(behind.connect(present.address, { timeoutMs })).rejects.toThrow('clocks is wrong');
    expect(log.lines.at(-1)?.fields['reason']).toMatch(/clocks is wrong/);
  });

  it('bounds connections that never show who they are', async () => {
    const server = await listening();
    const sockets = Array.from({ length: 60 }, () => createConnection(server.address));
    let closed = 0;
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.once('close', () => closed++);
      closers.push(() => socket.destroy());
    }
    // More than so many from one host are closed at once; the rest waits for its handshake to time out.
    await expect.poll(() => closed).toBe(60 - 32);
    expect(server.reasons()).toEqual(['too many others have not shown yet who they are']);
    for (const socket of sockets) socket.destroy();
    await expect
      .poll(() =>
        as(testCredentials(authority))
          .connect(server.address, { timeoutMs })
          .then(
            ({ peer }) => peer,
            () => 0,
          ),
      )
      .toBe(ours.name.node);
  });

  it('ends a handshake that takes too long', async () => {
    const server = await listening(() => ours, {
      ...realClock,
      after: (_delayMs, action) => realClock.after(50, action),
    });
    const socket = createConnection(server.address);
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('close', resolve));
    expect(server.reasons()).toEqual(['no handshake in 5000 ms']);
  });

  it('uses renewed credentials for new connections and keeps the old ones open', async () => {
    const node = testCredentials(authority).name.node;
    let current = testCredentials(authority, { node });
    const server = await listening(() => current);
    const peer = as(testCredentials(authority));
    const before = await peer.connect(server.address, { timeoutMs });
    const frames: string[] = [];
    before.onFrame((frame) => frames.push(Buffer.from(frame).toString()));
    await expect.poll(() => server.accepted.length).toBe(1);
    current = testCredentials(authority, { node });
    const after = await peer.connect(server.address, { timeoutMs });
    expect([before.peer, after.peer]).toEqual([node, node]);
    server.accepted[0]?.send(Buffer.from('still here'));
    await expect.poll(() => frames).toEqual(['still here']);
    for (const connection of [before, after]) connection.close();
  });
});
