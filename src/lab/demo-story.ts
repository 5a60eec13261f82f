/**
 * The story of one IP per container, as steps that are checked.
 *
 * Before it, two servers that want one port cannot live on one host; with it, each container has every port, and the
 * network needs neither the master nor the agent to go on carrying packets.
 */
import { once } from 'node:events';
import { capturePing } from './demo-capture.ts';
import { hostDies, oneAils, serviceByName, type ServiceStory } from './demo-service.ts';
import {
  eventually,
  expectEqual,
  portolan,
  webServer,
  type DemoLab,
  type PlacedContainer,
} from './demo-tools.ts';
import { labStart, labStop, labUp, type Say } from './lab.ts';
import { readAgentStatus } from './readiness.ts';
import { labRun } from './run.ts';

export interface Story {
  readonly lab: DemoLab;
  readonly containers: Map<string, PlacedContainer>;
  /** Blocks of hosts as they were, by host. */
  readonly blocks: Map<string, string>;
}

export interface StoryStep {
  readonly title: string;
  /** Says facts of interest while it goes. */
  readonly tell: (story: Story, note: Say) => Promise<void>;
}

const AGENTS = ['agent1', 'agent2', 'agent3'] as const;
const HOSTS = ['master1', ...AGENTS] as const;
const placement = [
  ['web1', 'agent1'],
  ['web2', 'agent1'],
  ['web3', 'agent2'],
  ['web4', 'agent2'],
  ['web5', 'agent3'],
] as const;

function placed(story: Story, name: string): PlacedContainer {
  const found = story.containers.get(name);
  if (found === undefined) throw new Error(`the story has no container "${name}" yet`);
  return found;
}

async function run(
  story: Story,
  host: string,
  name: string,
  argv: readonly string[],
  runtime: 'native' | 'docker' = 'native',
): Promise<PlacedContainer> {
  const started = await labRun({ lab: story.lab.lab, host, name, argv, runtime });
  const container = { name, host, id: started.id, address: started.addresses[0] ?? '' };
  story.containers.set(name, container);
  return container;
}

async function bringUp(story: Story, note: Say): Promise<void> {
  await labUp(story.lab.lab, { hosts: AGENTS.length, masters: 1, docker: true }, () => undefined);
  for (const host of AGENTS) {
    const overlay = (await readAgentStatus(story.lab.lab, host))?.overlays.find(
      (each) => each.subnet !== undefined,
    );
    note(`${host} holds ${overlay?.subnet ?? 'no block'} on overlay "${overlay?.info.name ?? '-'}"`);
  }
}

async function collide(story: Story, note: Say): Promise<void> {
  const server = ['busybox', 'httpd', '-f', '-p', '80', '-h', '/etc'];
  const first = await story.lab.startOnHost('agent1', server);
  try {
    const listening = ['sh', '-c', 'busybox netstat -ltn | grep -q ":80 "'];
    await eventually('the first server listens', 5_000, async () =>
      (await story.lab.onHost('agent1', listening)).status === 0 ? true : undefined,
    );
    const second = await story.lab.onHost('agent1', server);
    if (second.status === 0) throw new Error('the second server started although the port is taken');
    note(`the second one ends: ${second.stderr.trim()}`);
  } finally {
    first.kill('SIGKILL');
    await once(first, 'exit');
  }
}

async function fiveServers(story: Story, note: Say): Promise<void> {
  await Promise.all(placement.map(([name, host]) => run(story, host, name, webServer(name))));
  for (const [name] of placement) {
    const { address, host } = placed(story, name);
    await Promise.all(HOSTS.map((from) => story.lab.awaitAnswer(from, address, name)));
    note(`${name} on ${host} answers at http://${address}:80 to ${HOSTS.join(', ')}`);
  }
  const answer = await story.lab.fetchFromContainer(placed(story, 'web1'), placed(story, 'web5').address);
  expectEqual('web1 asks web5', answer, 'web5');
  note('web1 on agent1 asks web5 on agent3 and gets its answer');
}

async function dockerToo(story: Story, note: Say): Promise<void> {
  const docker = await run(story, 'agent1', 'docker1', webServer('docker1'), 'docker');
  const native = placed(story, 'web5');
  await eventually('docker1 asks web5', 10_000, async () =>
    (await story.lab.fetchFromDocker(docker, native.address)) === 'web5' ? true : undefined,
  );
  note(`docker1 (Docker, ${docker.address} on agent1) asks web5 (CNI, ${native.address} on agent3)`);
  await eventually('web5 asks docker1', 10_000, async () =>
    (await story.lab.fetchFromContainer(native, docker.address)) === 'docker1' ? true : undefined,
  );
  note('and web5 asks docker1');
}

async function packetPath(story: Story, note: Say): Promise<void> {
  const [from, to] = [placed(story, 'web1'), placed(story, 'web3')];
  const packet = await capturePing(story.lab, from, to);
  expectEqual('UDP port of the outer packet', packet.outer.port, 64_000);
  expectEqual('VXLAN network', packet.vni, 1024);
  expectEqual('inner source', packet.inner.source, from.address);
  expectEqual('inner destination', packet.inner.destination, to.address);
  note(`outer  ${packet.outer.source} > ${packet.outer.destination}  UDP ${packet.outer.port}`);
  note(`VXLAN  VNI ${packet.vni}  ${packet.inner.sourceMac} > ${packet.inner.destinationMac}`);
  note(`inner  ${packet.inner.source} > ${packet.inner.destination}  ${packet.inner.what}`);
}

async function withoutMaster(story: Story, note: Say): Promise<void> {
  await labStop(story.lab.lab, 'master1', 'SIGKILL');
  const late = await run(story, 'agent2', 'late', webServer('late'));
  for (const host of AGENTS) await story.lab.awaitAnswer(host, late.address, 'late');
  note(`"late" starts on agent2 at ${late.address} and answers every agent while no master lives`);
  await labStart(story.lab.lab, 'master1', () => undefined);
}

/** Counts what one connection brings, and prints it at its end. */
const receiverScript = `
require('node:net').createServer((socket) => {
  let bytes = 0;
  socket.on('data', (chunk) => (bytes += chunk.length));
  socket.on('end', () => { console.log(bytes); process.exit(0); });
  socket.on('error', (error) => { console.log(error.code); process.exit(1); });
}).listen(9000);`;

/** Sends 100 kB every 10 ms until there is a file /tmp/enough, and prints how many bytes that were. */
const senderScript = (address: string): string => `
const socket = require('node:net').connect(9000, '${address}');
const chunk = Buffer.alloc(100000);
let bytes = 0;
socket.on('error', (error) => { console.log(error.code); process.exit(1); });
socket.on('connect', () => {
  const timer = setInterval(() => {
    socket.write(chunk);
    bytes += chunk.length;
    if (!require('node:fs').existsSync('/tmp/enough')) return;
    clearInterval(timer);
    socket.end(() => console.log(bytes));
  }, 10);
});`;

async function withoutAgent(story: Story, note: Say): Promise<void> {
  const [sender, receiver] = [placed(story, 'web1'), placed(story, 'web3')];
  const received = story.lab.inContainer(receiver, [process.execPath, '-e', receiverScript]);
  const listening = ['busybox', 'sh', '-c', 'busybox netstat -ltn | busybox grep -q ":9000 "'];
  await eventually('the receiver listens', 10_000, async () =>
    (await story.lab.inContainer(receiver, listening)).status === 0 ? true : undefined,
  );
  const sent = story.lab.inContainer(sender, [process.execPath, '-e', senderScript(receiver.address)]);
  const hosts = [sender.host, receiver.host];
  for (const host of hosts) await labStop(story.lab.lab, host, 'SIGKILL');
  note(`the agents of ${hosts.join(' and ')} are killed while ${receiver.name} receives`);
  for (const host of hosts) await labStart(story.lab.lab, host, () => undefined);
  await story.lab.inContainer(sender, ['busybox', 'touch', '/tmp/enough']);
  const bytes = Number((await sent).stdout.trim());
  expectEqual('bytes received', Number((await received).stdout.trim()), bytes);
  note(`both are back, and all ${bytes.toLocaleString('en')} bytes arrived on that one connection`);
}

const nodeRemoval = ['node', 'rm', 'agent3'] as const;

function service(story: Story): ServiceStory {
  return { lab: story.lab, hosts: AGENTS, client: placed(story, 'web1') };
}

async function hostIsCut(story: Story, note: Say): Promise<void> {
  // Only while the host is up does it say which block it has.
  story.blocks.set('agent3', await blockOf(story.lab.lab, 'agent3'));
  await hostDies(service(story), 'agent3', note);
}

async function hostGoes(story: Story, note: Say): Promise<void> {
  const { lab } = story.lab;
  const before = story.blocks.get('agent3') ?? '';
  story.containers.delete('web5');
  await portolan(story.lab, 'master1', nodeRemoval);
  note(`agent3 is removed ("portolan ${nodeRemoval.join(' ')}")`);
  await labUp(lab, { hosts: AGENTS.length + 1 }, () => undefined);
  expectEqual('block of agent4', await blockOf(lab, 'agent4'), before);
  note(`a new host, agent4, gets the block that agent3 had: ${before}`);
  const web6 = await run(story, 'agent4', 'web6', webServer('web6'));
  for (const host of ['agent1', 'agent2']) await story.lab.awaitAnswer(host, web6.address, 'web6');
  note(`web6 on agent4 answers at http://${web6.address}:80`);
}

async function blockOf(lab: string, host: string): Promise<string> {
  const status = await readAgentStatus(lab, host);
  return status?.overlays.find((each) => each.subnet !== undefined)?.subnet ?? '';
}

export const story: readonly StoryStep[] = [
  { title: 'Three hosts and a master come up', tell: bringUp },
  { title: 'Without IPs of their own, two servers on port 80 collide on one host', tell: collide },
  { title: 'With them, five servers listen on port 80, each reached from every host', tell: fiveServers },
  { title: 'A Docker container talks to a CNI container on another host', tell: dockerToo },
  { title: 'The path of a packet, as captured on the underlay', tell: packetPath },
  {
    title: 'A Marathon app of three instances answers by one name, at its own ports, everywhere',
    tell: (story, note) => serviceByName(service(story), note),
  },
  {
    title: 'One instance turns unhealthy, and new calls go to the others',
    tell: (story, note) => oneAils(service(story), note),
  },
  { title: 'The master is killed, and a new container still starts', tell: withoutMaster },
  { title: 'Agents are killed and restarted during a transfer, which does not break', tell: withoutAgent },
  { title: 'A host is switched off under load, and calls go to the others', tell: hostIsCut },
  { title: 'A host is removed, and its block of addresses comes back', tell: hostGoes },
];
