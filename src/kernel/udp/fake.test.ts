import { setImmediate } from 'node:timers/promises';
import { udpContract } from './contract.ts';
import { FakeUdp } from './fake.ts';

udpContract('datagrams in memory', async () => {
  const udp = new FakeUdp();
  return {
    udp,
    exchange: async (to, port, bytes) => {
      const client = udp.client();
      for (const each of bytes) client.send(to, port, Buffer.from(each));
      await setImmediate();
      return client.inbox.map((each) => each.toString());
    },
    close: async () => undefined,
  };
});
