/**
 * The part of an agent that runs tasks, alone in a process that can be killed at any point: no master, no gossip.
 *
 * `node task-agent.js DIRECTORY`, of this file bundled with what it imports: DIRECTORY holds `launches.json`, the list; what
 * is told of tasks goes to standard output, one JSON object a line.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { realClock } from '../../src/base/clock.ts';
import { silentLog as log } from '../../src/base/log.ts';
import { realRandom as random } from '../../src/base/random.ts';
import { openContainers } from '../../src/agent/containers.ts';
import { GpuShares } from '../../src/agent/tasks/gpu-shares.ts';
import { NativeContainerizer } from '../../src/agent/tasks/native-containerizer.ts';
import { PersistentVolumes } from '../../src/agent/tasks/persistent-volumes.ts';
import { TaskPublisher } from '../../src/agent/tasks/task-publisher.ts';
import { TaskStore } from '../../src/agent/tasks/task-store.ts';
import { EndedTasks } from '../../src/agent/tasks/ended-tasks.ts';
import { TaskHost } from '../../src/agent/tasks/task-host.ts';
import { Tasks } from '../../src/agent/tasks/tasks.ts';
import { tcpSocketIn } from '../../src/kernel/netns-socket.ts';
import { FetchCache } from '../../src/runtime/fetch-cache.ts';
import { ImageStore } from '../../src/runtime/images.ts';
import { openJournal } from '../../src/store/journal.ts';

const directory = process.argv[2];
process.env.AGENT_PID = String(process.pid);
const state = join(directory, 'state');
const clock = realClock;

const tell = (key, value) => process.stdout.write(`${JSON.stringify({ key, value })}\n`);
const exchange = {
  publish: (key, value) => Promise.resolve(tell(key, value)),
  withdraw: (key) => Promise.resolve(tell(key, null)),
  records: () => [],
};

const journal = await openJournal(
  { log },
  { path: join(directory, 'journal'), what: 'tasks', recovery: 'none' },
);
const containers = await openContainers(
  { log, clock, random },
  {
    stateDir: state,
    runDir: join(directory, 'run'),
    cniDir: join(directory, 'cni'),
    pluginDirectories: [join(directory, 'bin')],
    overlays: () => ['dcos'],
    dnsServers: () => [],
    attached: () => true,
  },
);
const images = new ImageStore({ clock }, { root: join(state, 'images') });
await images.open();
const fetchCache = new FetchCache({ root: join(state, 'fetch'), maxBytes: 1024 });
await fetchCache.open();
const store = new TaskStore({ journal, log });
const root = join(state, 'tasks');
const volumes = new PersistentVolumes({ root: join(state, 'volumes') });
const native = new NativeContainerizer({ containers, images, volumes, gpus: new GpuShares() });
const ended = new EndedTasks({ clock, log }, { root, keepMs: 0, diskHeadroom: 0.1, max: 10 });
const host = new TaskHost(
  { log, containerizers: [native], ended, fetchCache },
  { root, refuseTakenPorts: () => Promise.resolve() },
);
const publisher = new TaskPublisher({ exchange, clock, log }, { node: 'n1' });
const tasks = new Tasks(
  { clock, log, store, publisher, host, ended, volumes, socketIn: tcpSocketIn },
  { agentIp: () => '10.0.0.11' },
);
await tasks.open();
await tasks.assign(String(Date.now()), JSON.parse(readFileSync(join(directory, 'launches.json'), 'utf8')));
tell('assigned', true);

const end = async () => {
  await tasks.close();
  await containers.close();
  await journal.close();
  process.exit(0);
};
process.once('SIGTERM', () => void end());
setInterval(() => undefined, 60_000);
