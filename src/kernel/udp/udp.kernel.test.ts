import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ip } from '../../base/ip.ts';
import { openInNamespace } from '../real-contract.ts';
import { socketAddress } from './bound-socket.ts';
import { udpContract } from './contract.ts';
import { openUdp } from './real.ts';

/** How long nothing has to come for "no answer". */
const SILENCE_MS = 200;

udpContract('datagrams of the kernel', async () => {
  const opened = await openInNamespace();
  await opened.kernel.apply([{ do: 'link-set', name: 'lo', settings: { up: true } }]);
  return {
    udp: openUdp(),
    exchange: async (to, port, bytes, expected) => {
      const client = createSocket({ type: to.family === 4 ? 'udp4' : 'udp6', recvBufferSize: 1 << 20 });
      const answers: string[] = [];
      client.bind(0, to.toString());
      await once(client, 'listening');
      const done = new Promise<void>((resolve) => {
        client.on('message', (message) => {
          answers.push(message.toString());
          if (answers.length === expected) resolve();
        });
      });
      for (const each of bytes) client.send(each, port, to.toString());
      await (expected === 0 ? setTimeout(SILENCE_MS) : done);
      client.close();
      return answers;
    },
    close: async () => opened.close(),
  };
});

it('lets others have their turn in a flood without end', async () => {
  const opened = await openInNamespace();
  await opened.kernel.apply([{ do: 'link-set', name: 'lo', settings: { up: true } }]);
  let received = 0;
  // Each datagram brings another one, so that there is always something to receive.
  const server = await openUdp().serve({
    address: ip('127.0.0.1'),
    port: 0,
    onDatagram: () => {
      received++;
      server.send(itself, Buffer.from('again'));
      return 0;
    },
  });
  const itself = socketAddress(ip('127.0.0.1'), server.port);
  for (let i = 0; i < 100; i++) server.send(itself, Buffer.from('first'));
  while (received < 1000) await setImmediate();
  await setTimeout(1);
  await server.close();
  await opened.close();
});

it('does not swallow what a handler throws', async () => {
  const opened = await openInNamespace();
  await opened.kernel.apply([{ do: 'link-set', name: 'lo', settings: { up: true } }]);
  const broken = new Error('the handler is broken');
  const server = await openUdp().serve({
    address: ip('127.0.0.1'),
    port: 0,
    onDatagram: (datagram) => {
      if (datagram.bytes.toString('latin1', 0, datagram.length) === 'break') throw broken;
      return 0;
    },
  });
  const former = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const caught = new Promise((resolve) => process.once('uncaughtException', resolve));
  server.send(socketAddress(ip('127.0.0.1'), server.port), Buffer.from('break'));
  expect(await caught).toBe(broken);
  for (const listener of former) process.on('uncaughtException', listener);
  await server.close();
  await opened.close();
});
