/**
 * A node of the cluster without a host: takes part in the record exchange and moves its block when told to. Runs inside a
 * lab host, which it joins with the token given. On standard input, each answered by a line of JSON:
 * "next" is one change: the block and when it was told; "applied REVISION AGENTS" waits until so many agents have it in
 * their kernels: when the last of them said so.
 */
import { createInterface } from 'node:readline';
import { joinWithToken } from '../src/agent/joining.ts';
import { sleep } from '../src/base/clock.ts';
import { request } from '../src/http/client.ts';
import type { NodeId } from '../src/model/names.ts';
import { appliedRecord, keys, type NodeRecord, type OverlayRecord } from '../src/model/record.ts';
import type { RecordExchange } from '../src/node/record-exchange.ts';
import { becomeMember, exchangeOf } from './support/member.ts';

const PORT = 62_599;
/** Far from what the lab's master gives out, and an address that no host of the lab has. */
const VTEP = { vtep_ip: '44.128.8.1/20', vtep_mac: '70:b3:d5:80:08:01' };
const TIMEOUT_MS = 10_000;
/** What is withdrawn is to be with its peers. */
const LAST_WORDS_MS = 500;

interface Status {
  readonly address: string;
}

async function main(): Promise<void> {
  const { body } = await request(
    { socketPath: '/run/portolan/agent.sock' },
    { method: 'GET', path: '/v1/status', timeoutMs: 5_000 },
  );
  const { address } = body as Status;
  const member = await becomeMember((components) => joinWithToken(components, process.argv[2] ?? ''));
  const { node } = member.credentials.name;
  const exchange = await exchangeOf(member, { address, port: PORT });
  const own = {
    ...{ name: 'mover', address, gossip_port: PORT, api_port: 9, role: 'master' as const },
  } satisfies NodeRecord;
  await exchange.publish(keys.node(node), own);
  await until('no peer', () => exchange.peers().some(({ connected }) => connected) || undefined);
  let moves = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, revision, agents] = line.split(' ');
    if (word !== 'next' && word !== 'applied') break;
    const answer =
      word === 'next'
        ? await move(exchange, node, `9.200.${moves++}.0/24`)
        : { at: await until(`not ${line}`, () => lastApplied(exchange, Number(revision), Number(agents))) };
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  // Nobody is to go on trying to reach it, nor to keep its route.
  await exchange.withdraw(keys.overlay(node, 'dcos'));
  await exchange.withdraw(keys.node(node));
  await sleep(LAST_WORDS_MS);
  await exchange.close();
}

async function move(exchange: RecordExchange, node: NodeId, subnet: string): Promise<object> {
  const place = {
    ...{ overlay: 'dcos', space: '9.0.0.0/8', subnet, agent_ip: '10.0.0.250', grant_epoch: 10_000 },
    ...VTEP,
  } satisfies OverlayRecord;
  const at = Date.now();
  await exchange.publish(keys.overlay(node, 'dcos'), place);
  return { subnet, at };
}

/** Wall time at which the last of the agents said that it has the revision; `undefined` while one has not. */
function lastApplied(exchange: RecordExchange, revision: number, agents: number): number | undefined {
  const told = Array.from(exchange.records('node/'))
    .filter(({ key }) => key.endsWith('/applied'))
    .flatMap(({ value }) => appliedRecord.safeParse(value).data ?? [])
    .filter((each) => each.revision >= revision);
  return told.length >= agents ? Math.max(...told.map(({ at }) => at)) : undefined;
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const end = performance.now() + TIMEOUT_MS;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`${what} within ${TIMEOUT_MS / 1000} s`);
    await sleep(20);
  }
}

await main();
