/**
 * The part of an agent that runs tasks, alone in a process that can be killed at any point: no master, no gossip.
 *
 * `node task-agent.mjs DIRECTORY`: DIRECTORY holds `launches.json`, the list; what is told of tasks goes to standard
 * output, one JSON object a line. Needs the built program.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { realClock } from '../../dist/base/clock.js';
import { silentLog as log } from '../../dist/base/log.js';
import { realRandom as random } from '../../dist/base/random.js';
import { openContainers } from '../../dist/agent/containers.js';
import { NativeContainerizer } from '../../dist/agent/tasks/native-containerizer.js';
import { PersistentVolumes } from '../../dist/agent/tasks/persistent-volumes.js';
import { TaskPublisher } from '../../dist/agent/tasks/task-publisher.js';
import { TaskStore } from '../../dist/agent/tasks/task-store.js';
import { EndedTasks } from '../../dist/agent/tasks/ended-tasks.js';
import { TaskHost } from '../../dist/agent/tasks/task-host.js';
import { Tasks } from '../../dist/agent/tasks/tasks.js';
import { tcpSocketIn } from '../../dist/kernel/netns-socket.js';
import { FetchCache } from '../../dist/runtime/fetch-cache.js';
import { ImageStore } from '../../dist/runtime/images.js';
import { openJournal } from '../../dist/store/journal.js';

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
const native = new NativeContainerizer({ containers, images, volumes });
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
