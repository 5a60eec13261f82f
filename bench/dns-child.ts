/** A DNS server of ours with as many names as asked, on a port of 127.0.0.1 and of a second address. */
import { realClock } from '../src/base/clock.ts';
import { ip, IpAddress } from '../src/base/ip.ts';
import { createLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { realRandom } from '../src/base/random.ts';
import { DnsServer } from '../src/agent/dns-server.ts';
import { Answerer } from '../src/dns/answer.ts';
import { NameTable } from '../src/dns/table.ts';
import { taskRecords } from '../src/dns/task-names.ts';
import { Zones } from '../src/dns/zones.ts';
import { openUdp } from '../src/kernel/udp/real.ts';
import type { NodeId } from '../src/model/names.ts';
import { taskRecord } from '../src/model/task.ts';

const [names = '', port = '', address = '', upstreamPort = ''] = process.argv.slice(2);
const NODE = 'nabcdefghijklmnopqrstuvwxyz' as NodeId;
const FIRST = 9 * 2 ** 24;
const TIME = '1970-01-01T00:00:00.000Z';

const table = new NameTable();
const startMs = performance.now();
for (let i = 0; i < Number(names); i++) {
  const task = taskRecord.parse({
    ...{ id: `h${i}`, app: `/h${i}`, version: TIME, framework: 'marathon', name: `h${i}`, runtime: 'mesos' },
    ...{ state: 'TASK_RUNNING', ports: [], staged_at: TIME, status_at: TIME },
    networks: [{ mode: 'container', name: 'dcos', addresses: [String(new IpAddress(4, FIRST + i))] }],
  });
  const viewed = { id: `${NODE}/h${i}`, node: NODE, host: 'h', agentIp: '10.0.0.1', reachable: true, task };
  table.set(`task/${viewed.id}`, taskRecords(viewed));
}
const loadMs = performance.now() - startMs;
const zones = new Zones({ reverse: [] });
await DnsServer.open(
  {
    udp: openUdp(),
    clock: realClock,
    random: realRandom,
    log: createLog('silent', {}),
    metrics: createMetrics(),
  },
  {
    listen: { addresses: [ip('127.0.0.1'), ip(address)], port: Number(port) },
    answerer: new Answerer({ table, zones: () => zones }),
    rules: { upstreams: [{ address: ip('127.0.0.1'), port: Number(upstreamPort) }], zones: new Map() },
  },
);
process.stdout.write(`${JSON.stringify({ loadMs, rss: process.memoryUsage.rss() })}\n`);
