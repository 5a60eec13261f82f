/** A DNS server of ours with as many names as asked, read from records as an agent does, on a port of 127.0.0.1. */
import { realClock } from '../src/base/clock.ts';
import { ip, IpAddress } from '../src/base/ip.ts';
import { createLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { realRandom } from '../src/base/random.ts';
import { DnsServer } from '../src/agent/dns-server.ts';
import { defaultTtls } from '../src/dns/zones.ts';
import { openUdp } from '../src/kernel/udp/real.ts';
import { DnsNames } from '../src/node/dns-names.ts';
import { FakeExchange } from '../src/node/exchange-fake.ts';
import { RecordView } from '../src/node/record-view.ts';

const [names = '', port = '', upstreamPort = ''] = process.argv.slice(2);
const NODE = `n${'a'.repeat(25)}`;
const FIRST = 9 * 2 ** 24;

const [log, metrics, exchange] = [createLog('silent', {}), createMetrics(), new FakeExchange()];
exchange.put(`node/${NODE}/node`, {
  ...{ name: 'h', address: '10.0.0.1', gossip_port: 1, api_port: 5051, role: 'agent' },
});
for (let i = 0; i < Number(names); i++)
  exchange.put(`node/${NODE}/task/h${i}`, {
    ...{ id: `h${i}`, app: `/h${i}`, version: 'v', framework: 'marathon', name: `h${i}`, runtime: 'mesos' },
    ...{ state: 'TASK_RUNNING', ports: [], staged_at: 's', status_at: 's' },
    networks: [{ mode: 'container', name: 'dcos', addresses: [String(new IpAddress(4, FIRST + i))] }],
  });
const records = new RecordView({ exchange, log }, { onChange: () => undefined });
const held = watchLoop();
const startMs = performance.now();
const dns = new DnsNames(
  { records, exchange, clock: realClock, metrics },
  { listen: [], ttls: defaultTtls, vipRanges: [], cluster: () => undefined },
);
await dns.settled();
const [loadMs, heldMs] = [performance.now() - startMs, held()];
await DnsServer.open(
  { udp: openUdp(), clock: realClock, random: realRandom, log, metrics },
  {
    listen: { addresses: [ip('127.0.0.1')], port: Number(port) },
    answerer: dns.answerer,
    rules: { upstreams: [{ address: ip('127.0.0.1'), port: Number(upstreamPort) }], zones: new Map() },
  },
);
process.stdout.write(`${JSON.stringify({ loadMs, heldMs, rss: process.memoryUsage.rss() })}\n`);

/** The longest that timers had to wait. */
function watchLoop(): () => number {
  let [last, longest] = [performance.now(), 0];
  // It also keeps the process alive, which timers of the clock do not.
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    return Math.max(longest, performance.now() - last - 1);
  };
}
