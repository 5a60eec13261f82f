import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { openInNamespace } from '../real-contract.ts';
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
