/**
 * The agent's resident memory while it knows 1,000 nodes, learnt by record exchange as in a real cluster: each of them
 * has joined, and signs what it says.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { joinLocally } from '../src/agent/joining.ts';
import { labPaths } from '../src/lab/paths.ts';
import { keys, type GossipRecord, type NodeRecord, type OverlayRecord } from '../src/model/record.ts';
import { invitation } from './support/invitation.ts';
import { becomeMember, signedRecords } from './support/member.ts';
import type { Bench } from './support/report.ts';
import { lab, root, temporaryFolder } from './support/run.ts';

const LAB = 'benchmem';
const NODES = 1_000;
const JOINING_AT_ONCE = 8;

export const memory: Bench = {
  name: 'memory',
  about: `resident memory of one agent with ${NODES} known nodes, all in its kernel, 20 s after it learnt of them`,
  async run() {
    const inLab = await lab(LAB, 1);
    const child = join(root, 'dist-bench', 'bench', 'memory-child.js');
    const file = join(temporaryFolder(), 'records.json');
    writeFileSync(file, JSON.stringify(await recordsOfNodes()));
    const learning = await inLab(
      ...(['agent1', process.execPath, child, String(NODES), file, await invitation(LAB)] as const),
    );
    const { stdout } = await inLab(
      'agent1',
      'curl',
      '-s',
      '--unix-socket',
      '/run/portolan/agent.sock',
      'http://agent/v1/status',
    );
    const status = JSON.parse(stdout) as { nodes: number; memory_rss: number };
    if (status.nodes < NODES) throw new Error(`the agent knows only ${status.nodes} nodes`);
    return [
      {
        what: `agent with ${status.nodes} known nodes`,
        unit: 'MB',
        ours: status.memory_rss / 1e6,
        promise: { atMost: 120 },
      },
      { what: 'the same when it has just learnt of them', unit: 'MB', ours: Number(learning.stdout) / 1e6 },
    ];
  },
};

async function recordsOfNodes(): Promise<readonly GossipRecord[]> {
  const records: GossipRecord[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < NODES) records.push(...(await recordsOfNode(++next)));
  };
  await Promise.all(Array.from({ length: JOINING_AT_ONCE }, work));
  return records;
}

/** Far from the addresses that the lab's master gives out. */
async function recordsOfNode(i: number): Promise<readonly GossipRecord[]> {
  const member = await becomeMember((components) => joinLocally(components, labPaths(LAB).apiSocket));
  const { node } = member.credentials.name;
  const low = `${i >> 8}.${i & 255}`;
  const address = `10.250.${low}`;
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  const place = {
    overlay: 'dcos',
    space: '9.0.0.0/8',
    subnet: `9.${200 + (i >> 8)}.${i & 255}.0/24`,
    vtep_ip: `44.128.${8 + (i >> 8)}.${i & 255}/20`,
    vtep_mac: `70:b3:d5:80:${hex(8 + (i >> 8))}:${hex(i & 255)}`,
    agent_ip: address,
    grant_epoch: 10_000 + i,
  } satisfies OverlayRecord;
  const own = {
    ...{ name: `fake${i}`, address, gossip_port: 9, api_port: 9, role: 'agent' as const },
  } satisfies NodeRecord;
  return signedRecords(member, { [keys.node(node)]: own, [keys.overlay(node, 'dcos')]: place });
}
