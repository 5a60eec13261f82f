import { openUdp } from '../src/kernel/udp/real.ts';
import { NameTable } from '../src/dns/table.ts';
import { Answerer } from '../src/dns/answer.ts';
import { Zones } from '../src/dns/zones.ts';
import { readQuery } from '../src/dns/query.ts';
import { ip, IpAddress } from '../src/base/ip.ts';
const table = new NameTable();
for (let i = 0; i < 10000; i++)
  table.set(`h${i}`, [
    {
      name: `h${i}.svc.mesos`,
      ttl: 5,
      preferred: true,
      data: { type: 'A', address: new IpAddress(4, 9 * 16777216 + i) },
    },
  ]);
const zones = new Zones({ reverse: [] });
const answerer = new Answerer({ table, zones: () => zones });
await openUdp().serve({
  address: ip('127.0.0.1'),
  port: 5399,
  onDatagram: (d, reply) => {
    const q = readQuery(d.bytes, d.length);
    if (q === undefined) return 0;
    return answerer.answer(q, d.bytes, reply, q.udpBytes);
  },
});
console.log('up');
