/**
 * Tells the agent of this host, by record exchange, of N nodes that do not exist, and waits until all of them are in
 * its kernel. Runs inside a lab host, whose cluster it joins by an invitation: memory-child.js N TOKEN@HOST:PORT
 */
import { joinWithToken } from '../src/agent/joining.ts';
import { realClock, sleep } from '../src/base/clock.ts';
import { createLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { realRandom } from '../src/base/random.ts';
import { request } from '../src/http/client.ts';
import { newNodeId } from '../src/model/names.ts';
import { keys, type NodeRecord, type OverlayRecord } from '../src/model/record.ts';
import { openExchange } from '../src/node/exchange.ts';
import { createTlsTransport } from '../src/peer/tls.ts';
import { memoryJournal } from '../src/store/memory-journal.ts';

interface Status {
  readonly address: string;
  readonly nodes: number;
  readonly applied: boolean;
}

const TIMEOUT_MS = 60_000;
const PORT = 62_599;

async function status(): Promise<Status> {
  const target = { socketPath: '/run/portolan/agent.sock' };
  return (await request(target, { method: 'GET', path: '/v1/status', timeoutMs: 5_000 })).body as Status;
}

/** Far from the addresses that the lab's master gives out. */
function records(i: number): readonly [NodeRecord, OverlayRecord] {
  const low = `${i >> 8}.${i & 255}`;
  const address = `10.250.${low}`;
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  return [
    { name: `fake${i}`, address, gossip_port: 9, api_port: 9, role: 'agent' },
    {
      overlay: 'dcos',
      space: '9.0.0.0/8',
      subnet: `9.200.${i & 255}.0/24`.replace('200', String(200 + (i >> 8))),
      vtep_ip: `44.128.${8 + (i >> 8)}.${i & 255}/20`,
      vtep_mac: `70:b3:d5:80:${hex(8 + (i >> 8))}:${hex(i & 255)}`,
      agent_ip: address,
      grant_epoch: 10_000 + i,
    },
  ];
}

async function main(count: number, invitation: string): Promise<void> {
  const { address } = await status();
  const journal = memoryJournal();
  const { credentials } = await joinWithToken({ journal }, invitation);
  const { cluster, node } = credentials.name;
  for (let i = 1; i <= count; i++) {
    const id = newNodeId(realRandom);
    const [node, overlay] = records(i);
    const version = { epoch: 1, sequence: 1 };
    await journal.write({
      [`record/${keys.node(id)}`]: { version, value: node },
      [`record/${keys.overlay(id, 'dcos')}`]: { version: { epoch: 1, sequence: 2 }, value: overlay },
    });
  }
  const components = { clock: realClock, random: realRandom, log: createLog('error') };
  const exchange = await openExchange(
    {
      ...{ ...components, metrics: createMetrics(), journal },
      transport: createTlsTransport(components, { credentials: () => credentials }),
    },
    { cluster, node, listen: { host: address, port: PORT }, contacts: [`${address}:62501`] },
  );
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    const now = await status();
    if (now.nodes >= count && now.applied) break;
    if (performance.now() > deadline)
      throw new Error(`the agent knows ${now.nodes} nodes after ${TIMEOUT_MS / 1000} s`);
    await sleep(200);
  }
  // A few idle rounds, so that what was only needed for learning is gone.
  await sleep(3_000);
  await exchange.close();
}

await main(Number(process.argv[2]), process.argv[3] ?? '');
