/** From `lab up --hosts 3` on an installed checkout to the first answer across hosts. */
import type { Bench } from './support/report.ts';
import { portolan, run } from './support/run.ts';
import { median } from './support/stats.ts';

const LAB = 'benchup';
const REPETITIONS = 3;

export const labUp: Bench = {
  name: 'lab-up',
  about: `lab up with three hosts, a container on two, the first ping between them; median of ${REPETITIONS}`,
  async run() {
    const seconds: number[] = [];
    for (let i = 0; i < REPETITIONS; i++) seconds.push(await once());
    return [
      {
        what: 'lab up --hosts 3 to the first ping across hosts',
        unit: 's',
        ours: median(seconds),
        promise: { atMost: 5 },
      },
    ];
  },
};

async function once(): Promise<number> {
  try {
    return await timed();
  } finally {
    await run(portolan, ['lab', 'down', '--lab', LAB]);
  }
}

async function timed(): Promise<number> {
  const start = performance.now();
  await run(portolan, ['lab', 'up', '--lab', LAB, '--hosts', '3']);
  const conf = '{"cniVersion":"1.0.0","name":"dcos","type":"portolan-cni"}';
  const attach = `ip netns add first; echo '${conf}' | CNI_COMMAND=ADD CNI_CONTAINERID=first CNI_NETNS=/run/netns/first CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin /opt/cni/bin/portolan-cni`;
  const [server] = await Promise.all(
    ['agent2', 'agent1'].map(async (host) => {
      const { stdout } = await run(portolan, ['lab', 'exec', '--lab', LAB, host, '--', 'sh', '-ec', attach]);
      return (JSON.parse(stdout) as { ips: { address: string }[] }).ips[0]?.address.split('/')[0] ?? '';
    }),
  );
  const ping = `nsenter --net=/run/netns/first ping -c 1 -W 1 ${server}`;
  await run(portolan, ['lab', 'exec', '--lab', LAB, 'agent1', '--', 'sh', '-ec', ping]);
  return (performance.now() - start) / 1000;
}
