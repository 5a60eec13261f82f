import { createConnection, createServer } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { realClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { peerTransportContract } from './contract.ts';
import { encodeLength, FrameReader } from './frames.ts';
import { createTcpTransport } from './tcp.ts';

const transport = createTcpTransport({ clock: realClock, log: silentLog });

peerTransportContract('the TCP transport', () => ({ transport, host: '127.0.0.1', isDeaf: true }));

it('a stream that is no stream of frames is closed with the reason', async () => {
  const closes: (Error | undefined)[] = [];
  const listener = await transport.listen({ host: '127.0.0.1', port: 0 }, (connection) =>
    connection.onClose((error) => closes.push(error)),
  );
  const socket = createConnection(listener.address.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\n\r\n');
  await expect.poll(() => closes.map((error) => error?.name)).toEqual(['FrameError']);
  await listener.close();
});

it('a securing step that refuses closes the connection and nobody sees it', async () => {
  const secured = createTcpTransport(
    { clock: realClock, log: silentLog },
    {
      secure: (socket, side) =>
        side === 'accepted' ? Promise.reject(new Error('no')) : Promise.resolve({ socket }),
    },
  );
  let seen = 0;
  const listener = await secured.listen({ host: '127.0.0.1', port: 0 }, () => seen++);
  const connection = await secured.connect(listener.address, { timeoutMs: 2_000 });
  let closed = false;
  connection.onClose(() => (closed = true));
  await expect.poll(() => closed).toBe(true);
  expect(seen).toBe(0);
  await listener.close();
});

it('a port that nobody listens on is unavailable, by its name', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  await expect(transport.connect({ host: '127.0.0.1', port }, { timeoutMs: 500 })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining(`Cannot reach peer "127.0.0.1:${port}"`) as string,
  });
});

it('frames are the same however the stream was cut into pieces', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
      (frames, cuts) => {
        const stream = Buffer.concat(frames.flatMap((frame) => [encodeLength(frame), frame]));
        const reader = new FrameReader();
        const read: Buffer[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] ?? 1;
          read.push(...reader.push(stream.subarray(at, at + size)));
          at += size;
        }
        expect(read.map((frame) => Array.from(frame))).toEqual(frames.map((frame) => Array.from(frame)));
      },
    ),
  );
});
