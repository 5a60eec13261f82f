/** What every `Udp` must do, real or fake. `exchange` sends datagrams as a client and gives what came back within a moment. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ip, type IpAddress } from '../../base/ip.ts';
import { MAIL_BYTES_MAX, type Peer, type Udp, type UdpServer } from './types.ts';

export interface OpenUdp {
  readonly udp: Udp;
  /** Of one client: waits for `expected` answers, or a moment if that is 0. */
  exchange(
    to: IpAddress,
    port: number,
    bytes: readonly string[],
    expected: number,
  ): Promise<readonly string[]>;
  close(): Promise<void>;
}

export function udpContract(name: string, open: () => Promise<OpenUdp>): void {
  describe(name, () => {
    let opened: OpenUdp;
    const servers: UdpServer[] = [];

    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      for (const server of servers.splice(0)) await server.close();
      await opened.close();
    });

    const echo = async (address: IpAddress, onPeer?: (peer: Peer) => void): Promise<UdpServer> => {
      const server = await opened.udp.serve({
        address,
        port: 0,
        onDatagram: (datagram, reply) => {
          const text = datagram.bytes.toString('utf8', 0, datagram.length);
          onPeer?.(datagram.peer());
          return text === 'silence' ? 0 : reply.write(`${text}!`);
        },
      });
      servers.push(server);
      return server;
    };

    it.each(['127.0.0.1', '::1'])('answers each datagram to %s', async (address) => {
      const server = await echo(ip(address));
      expect(await opened.exchange(ip(address), server.port, ['hello'], 1)).toEqual(['hello!']);
      expect(await opened.exchange(ip(address), server.port, ['silence', 'a', 'b'], 2)).toEqual(['a!', 'b!']);
    });

    it('answers many at once, each with its own', async () => {
      const server = await echo(ip('127.0.0.1'));
      const questions = Array.from({ length: 500 }, (_, i) => `question ${i}`);
      const answers = await opened.exchange(ip('127.0.0.1'), server.port, questions, 500);
      expect(answers.toSorted()).toEqual(questions.map((each) => `${each}!`).toSorted());
    });

    it('answers later whom it has kept', async () => {
      const peers: Peer[] = [];
      const server = await echo(ip('127.0.0.1'), (peer) => {
        peers.push(peer);
        queueMicrotask(() => server.send(peer, Buffer.from('later')));
      });
      const answers = await opened.exchange(ip('127.0.0.1'), server.port, ['silence', 'silence'], 2);
      expect(answers).toEqual(['later', 'later']);
      expect(peers.length).toBe(2);
    });

    it('sends to others while it answers', async () => {
      const server = await opened.udp.serve({
        address: ip('127.0.0.1'),
        port: 0,
        onDatagram: (datagram, reply) => {
          server.send(datagram.peer(), Buffer.from('sent'));
          return reply.write(datagram.bytes.toString('utf8', 0, datagram.length));
        },
      });
      servers.push(server);
      const questions = Array.from({ length: 40 }, (_, i) => `question ${i}`);
      const answers = await opened.exchange(ip('127.0.0.1'), server.port, questions, 80);
      expect(answers.filter((each) => each !== 'sent').toSorted()).toEqual(questions.toSorted());
    });

    it('waits for an address that is not there yet', async () => {
      const server = await echo(ip('198.51.100.77'));
      expect(server.port).toBeGreaterThan(0);
    });

    it('refuses a port that is taken', async () => {
      const server = await echo(ip('127.0.0.1'));
      const again = opened.udp.serve({ address: ip('127.0.0.1'), port: server.port, onDatagram: () => 0 });
      await expect(again).rejects.toMatchObject({ code: 'EADDRINUSE' });
    });

    it('leaves what is too long, and goes on', async () => {
      const server = await echo(ip('127.0.0.1'));
      const long = 'x'.repeat(3000);
      expect(await opened.exchange(ip('127.0.0.1'), server.port, [long, long, 'short'], 1)).toEqual([
        'short!',
      ]);
    });

    it.each(['127.0.0.1', '::1'])('keeps datagrams to %s until somebody looks', async (text) => {
      const [here, there] = [opened.udp.mailbox(ip(text), 0), opened.udp.mailbox(ip(text), 0)];
      const seen: string[] = [];
      const froms: Peer[] = [];
      const look = (): void =>
        there.take((bytes, from, ageMs) => {
          seen.push(bytes.toString());
          froms.push(from());
          expect(ageMs).toBeGreaterThanOrEqual(0);
          expect(ageMs).toBeLessThan(10_000);
        });
      try {
        const to = here.addressOf(text, there.port) as Peer;
        for (let i = 0; i < 40; i++) here.send(to, Buffer.from(`word ${i}`));
        here.send(to, Buffer.alloc(MAIL_BYTES_MAX + 1));
        look();
        expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => `word ${i}`));
        look();
        expect(seen).toHaveLength(40);
        there.send(froms[0] as Peer, Buffer.from('back'));
        here.take((bytes) => seen.push(bytes.toString()));
        expect(seen.at(-1)).toBe('back');
        expect(here.addressOf('somewhere.example', 1)).toBeUndefined();
        expect(() => opened.udp.mailbox(ip(text), here.port)).toThrow(/EADDRINUSE|in use/);
      } finally {
        here.close();
        there.close();
      }
      here.send(froms[0] as Peer, Buffer.from('nobody hears it'));
      look();
      expect(seen).toHaveLength(41);
    });

    it('is silent when it is closed', async () => {
      const server = await echo(ip('127.0.0.1'));
      await server.close();
      await server.close();
      server.send(Buffer.alloc(16), Buffer.from('nobody hears it'));
      expect(await opened.exchange(ip('127.0.0.1'), server.port, ['hello'], 0)).toEqual([]);
    });
  });
}
