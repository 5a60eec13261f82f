/** The agent's resident memory while it knows 1,000 nodes, learnt by record exchange as in a real cluster. */
import { join } from 'node:path';
import { invitation } from './support/invitation.ts';
import type { Bench } from './support/report.ts';
import { lab, root } from './support/run.ts';

const LAB = 'benchmem';
const NODES = 1_000;

export const memory: Bench = {
  name: 'memory',
  about: `resident memory of one agent with ${NODES} known nodes, all in its kernel`,
  async run() {
    const inLab = await lab(LAB, 1);
    const child = join(root, 'dist-bench', 'bench', 'memory-child.js');
    await inLab('agent1', process.execPath, child, String(NODES), await invitation(LAB));
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
    ];
  },
};
