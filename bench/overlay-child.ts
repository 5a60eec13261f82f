/**
 * One agent's kernel state for N remote nodes, in the namespace this process was started in: from nothing, again with
 * nothing to do, then with one node more. Prints one JSON object.
 *
 *   overlay-child.js N
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createReconciler } from '../src/agent/reconciler.ts';
import { realClock } from '../src/base/clock.ts';
import { ip } from '../src/base/ip.ts';
import { createLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { openKernel } from '../src/kernel/real.ts';
import type { NodeId } from '../src/model/names.ts';
import { agentNetworkConfig, type AgentOverlay } from '../src/model/overlay.ts';
import { compile } from '../src/overlay/compile.ts';
import type { DesiredState, NodeOverlayRecord } from '../src/overlay/desired.ts';

const log = createLog('error');
const vtep = (i: number): string => `44.128.${i >> 8}.${i & 255}`;
const block = (i: number): string => `9.${i >> 8}.${i & 255}.0/24`;
const mac = (i: number): string =>
  `70:b3:d5:80:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
const nodeName = (i: number): NodeId =>
  `n${'a'.repeat(20)}${[...String(i).padStart(5, '0')].map((digit) => 'abcdefghij'[Number(digit)]).join('')}` as NodeId;

function record(i: number): NodeOverlayRecord {
  const value = {
    overlay: 'dcos',
    space: '9.0.0.0/8',
    subnet: block(i),
    vtep_ip: `${vtep(i)}/12`,
    vtep_mac: mac(i),
    agent_ip: `10.250.${i >> 8}.${i & 255}`,
    grant_epoch: i,
  };
  return { node: nodeName(i), record: value };
}

const own: AgentOverlay = {
  info: { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true },
  subnet: block(60_000),
  mesos_bridge: { name: 'm-dcos', ip: block(60_000).replace('/24', '/25') },
  backend: {
    vxlan: { vni: 1024, vtep_name: 'vtep1024', vtep_ip: `${vtep(60_000)}/12`, vtep_mac: mac(60_000) },
  },
};

function desired(nodes: number): DesiredState {
  return compile({
    node: nodeName(60_000),
    grant: { overlays: [own], epoch: 60_000 },
    records: Array.from({ length: nodes }, (_, i) => record(i + 1)),
    removed: new Set(),
    underlay: { address: ip('10.250.255.1'), link: 'under0', mtu: 1500 },
    attachments: [],
    vips: [],
    network: agentNetworkConfig.parse({}),
    dns: { addresses: [], port: 53 },
  });
}

async function main(nodes: number): Promise<void> {
  const kernel = await openKernel({ log });
  let state = desired(0);
  const components = { kernel, clock: realClock, log, metrics: createMetrics() };
  const reconciler = createReconciler(components, { desired: () => state });
  await reconciler.start();
  await reconciler.settle();

  const delay = monitorEventLoopDelay({ resolution: 1 });
  state = desired(nodes);
  delay.enable();
  const start = performance.now();
  const programmed = await reconciler.settle();
  const programMs = performance.now() - start;
  delay.disable();

  await reconciler.settle();
  const cpu: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = process.cpuUsage();
    await reconciler.settle();
    const used = process.cpuUsage(before);
    cpu.push((used.user + used.system) / 1000);
  }
  cpu.sort((a, b) => a - b);

  state = desired(nodes + 1);
  const joined = await reconciler.settle();
  const holdMs = delay.max / 1e6;
  console.log(
    JSON.stringify({
      programMs,
      holdMs,
      failures: programmed.failures.length,
      idleCpuMs: cpu[2],
      joinSteps: joined.steps,
    }),
  );
  await reconciler.stop();
  kernel.close();
}

const keepAlive = setInterval(() => undefined, 1000);
await main(Number(process.argv[2]));
clearInterval(keepAlive);
