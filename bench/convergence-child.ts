/**
 * A node of the cluster without a host: takes part in the record exchange and moves its block when told to. Runs inside a
 * lab host, which it joins with the token given; each line "next" on standard input is one change, answered by a line of JSON: the block and when it was told.
 */
import { createInterface } from 'node:readline';
import { joinWithToken } from '../src/agent/joining.ts';
import { realClock, sleep } from '../src/base/clock.ts';
import { createLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { realRandom } from '../src/base/random.ts';
import { request } from '../src/http/client.ts';
import { keys, type NodeRecord, type OverlayRecord } from '../src/model/record.ts';
import { openExchange } from '../src/node/exchange.ts';
import { createTlsTransport } from '../src/peer/tls.ts';
import { memoryJournal } from '../src/store/memory-journal.ts';

const PORT = 62_599;
/** Far from what the lab's master gives out, and an address that no host of the lab has. */
const VTEP = { vtep_ip: '44.128.8.1/20', vtep_mac: '70:b3:d5:80:08:01' };
const JOIN_TIMEOUT_MS = 10_000;

interface Status {
  readonly address: string;
}

async function main(): Promise<void> {
  const { body } = await request(
    { socketPath: '/run/portolan/agent.sock' },
    { method: 'GET', path: '/v1/status', timeoutMs: 5_000 },
  );
  const { address } = body as Status;
  const journal = memoryJournal();
  const { credentials } = await joinWithToken({ journal }, process.argv[2] ?? '');
  const { cluster, node } = credentials.name;
  const components = { clock: realClock, random: realRandom, log: createLog('error') };
  const exchange = await openExchange(
    {
      ...{ ...components, metrics: createMetrics(), journal },
      transport: createTlsTransport(components, { credentials: () => credentials }),
    },
    { cluster, node, listen: { host: address, port: PORT }, contacts: [`${address}:62501`] },
  );
  const own = {
    ...{ name: 'mover', address, gossip_port: PORT, api_port: 9, role: 'master' as const },
  } satisfies NodeRecord;
  await exchange.publish(keys.node(node), own);
  const end = performance.now() + JOIN_TIMEOUT_MS;
  while (!exchange.peers().some(({ connected }) => connected)) {
    if (performance.now() > end) throw new Error('no peer within 10 s');
    await sleep(50);
  }
  let moves = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== 'next') break;
    const subnet = `9.200.${moves++}.0/24`;
    const place = {
      ...{ overlay: 'dcos', space: '9.0.0.0/8', subnet, agent_ip: '10.0.0.250', grant_epoch: 10_000 },
      ...VTEP,
    } satisfies OverlayRecord;
    const at = Date.now();
    await exchange.publish(keys.overlay(node, 'dcos'), place);
    process.stdout.write(`${JSON.stringify({ subnet, at })}\n`);
  }
  await exchange.close();
}

await main();
