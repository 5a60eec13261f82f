/**
 * Tells the agent of this host, by record exchange, what it finds in a file of records, and waits until all nodes of
 * which these tell are in its kernel; prints its memory in bytes then, and ends when it has been quiet for a while.
 * Runs inside a lab host, whose cluster it joins by an invitation:
 * memory-child.js NODES FILE TOKEN@HOST:PORT
 */
import { readFileSync } from 'node:fs';
import { joinWithToken } from '../src/agent/joining.ts';
import { sleep } from '../src/base/clock.ts';
import { request } from '../src/http/client.ts';
import type { GossipRecord } from '../src/model/record.ts';
import { becomeMember, exchangeOf } from './support/member.ts';

interface Status {
  readonly address: string;
  readonly nodes: number;
  readonly applied: boolean;
  readonly memory_rss: number;
}

const TIMEOUT_MS = 60_000;
const PORT = 62_599;

async function status(): Promise<Status> {
  const target = { socketPath: '/run/portolan/agent.sock' };
  return (await request(target, { method: 'GET', path: '/v1/status', timeoutMs: 5_000 })).body as Status;
}

async function main(count: number, file: string, invitation: string): Promise<void> {
  const { address } = await status();
  const member = await becomeMember((components) => joinWithToken(components, invitation));
  const records = JSON.parse(readFileSync(file, 'utf8')) as GossipRecord[];
  await member.journal.write(Object.fromEntries(records.map(({ key, ...rest }) => [`record/${key}`, rest])));
  const exchange = await exchangeOf(member, { address, port: PORT });
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    const now = await status();
    if (now.nodes >= count && now.applied) break;
    if (performance.now() > deadline)
      throw new Error(`the agent knows ${now.nodes} nodes after ${TIMEOUT_MS / 1000} s`);
    await sleep(200);
  }
  console.log((await status()).memory_rss);
  // V8 gives back what was only needed for learning when the process has been quiet for 8 s (memory reducer).
  await sleep(20_000);
  await exchange.close();
}

await main(Number(process.argv[2]), process.argv[3] ?? '', process.argv[4] ?? '');
