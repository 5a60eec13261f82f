import { afterEach, describe, expect, it } from 'vitest';
import { testApp, testResources } from '../../apps/fake.ts';
import { succeed } from '../../apps/versions.ts';
import { findApp, putApp } from '../../apps/tree.ts';
import { realClock } from '../../base/clock.ts';
import { memoryLog } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { App } from '../../model/app.ts';
import type { AppEvent } from '../../model/deployment.ts';
import { newNodeId, type NodeId } from '../../model/names.ts';
import { keys, type RecordValue } from '../../model/record.ts';
import { isTerminal, resourcesKey, taskKey, type TaskLaunch } from '../../model/task.ts';
import { FakeExchange } from '../../node/exchange-fake.ts';
import { RecordView } from '../../node/record-view.ts';
import { FakeDisk, FakeStore } from '../../store/fake.ts';
import { AppOrchestrator } from './orchestrator.ts';

const random = seededRandom(9);
const waitMs = 5_000;

/** A cluster of agents that do what their lists say, and a master that may be killed at any time. */
class World {
  readonly exchange = new FakeExchange();
  readonly disk = new FakeDisk();
  readonly log = memoryLog();
  readonly events: AppEvent[] = [];
  readonly nodes: readonly NodeId[];
  /** Records that agents said to have applied. */
  readonly asked: string[] = [];
  readonly #abort = new AbortController();
  readonly #hosted = new Set<string>();
  store = new FakeStore({ log: this.log }, { disk: this.disk });
  orchestrator!: AppOrchestrator;
  #view: RecordView | undefined;

  constructor(agents: number) {
    this.nodes = Array.from({ length: agents }, () => newNodeId(random));
    for (const [i, node] of this.nodes.entries()) {
      const at = { address: `10.0.0.${11 + i}`, gossip_port: 1, api_port: 5051, role: 'agent' };
      this.exchange.put(keys.node(node), { name: `agent${i + 1}`, ...at });
      this.exchange.put(keys.overlay(node, 'dcos'), {
        ...{ overlay: 'dcos', subnet: `9.0.${i}.0/24`, vtep_ip: `44.128.0.${i + 1}/20` },
        ...{ vtep_mac: '70:b3:d5:00:00:01', agent_ip: at.address, grant_epoch: 1 },
      });
      this.exchange.put(resourcesKey(node), testResources() as unknown as RecordValue);
    }
  }

  async start(): Promise<this> {
    const { exchange, log } = this;
    this.#view = new RecordView({ exchange, log }, { onChange: () => undefined });
    this.orchestrator = await AppOrchestrator.open(
      {
        ...{ store: this.store, exchange, log, random, clock: realClock, view: this.#view },
        askApplied: (agent, { records }) => {
          for (const { key } of records) this.asked.push(`${agent.name} ${key}`);
          return Promise.resolve(records.map(() => true));
        },
      },
      { agentLostMs: 60_000, drainGraceMs: 5, maxDeployments: 100 },
    );
    this.orchestrator.subscribe((event) => this.events.push(event));
    return this;
  }

  /** As `kill -9`, after which another process finds what was durable. */
  async restart(): Promise<void> {
    this.store.crash();
    this.orchestrator.close();
    this.#view?.close();
    this.store = new FakeStore({ log: this.log }, { disk: this.disk });
    await this.start();
  }

  /** Lets an agent work: asks for its list, and does what it says. */
  agent(node: NodeId): void {
    void (async () => {
      let have: string | undefined;
      while (!this.#abort.signal.aborted) {
        try {
          const list = await this.orchestrator.poll(node, have, { waitMs: 100, signal: this.#abort.signal });
          have = list.revision;
          if (list.tasks !== undefined) this.#run(node, list.tasks);
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      }
    })();
  }

  #run(node: NodeId, launches: readonly TaskLaunch[]): void {
    const named = new Set(launches.map(({ id }) => taskKey(node, id)));
    for (const launch of launches) this.#tell(node, launch);
    for (const key of this.#hosted)
      if (key.startsWith(`node/${node}/`) && !named.has(key)) {
        this.#hosted.delete(key);
        this.exchange.put(key, null);
      }
  }

  #tell(node: NodeId, launch: TaskLaunch): void {
    const key = taskKey(node, launch.id);
    const told = this.exchange.get(key)?.value as { state: 'TASK_RUNNING' } | null | undefined;
    if (told !== null && told !== undefined && isTerminal(told.state)) return;
    const { id, app, version, framework, name, runtime, ports } = launch;
    this.#hosted.add(key);
    this.exchange.put(key, {
      ...{ id, app, version, framework, name, runtime, ports: ports as unknown as RecordValue[] },
      state: launch.goal === 'killed' ? 'TASK_KILLED' : 'TASK_RUNNING',
      draining: launch.goal === 'draining',
      networks: [{ mode: 'container', name: 'dcos', addresses: ['9.0.0.2'] }],
      ...{ staged_at: '2026-01-01T00:00:00.000Z', status_at: '2026-01-01T00:00:00.000Z' },
    });
  }

  put(app: App, force = false) {
    return this.orchestrator.deploy(
      (root, version) => putApp(root, succeed(findApp(root, app.id), app, version), version),
      { force },
    );
  }

  shells(app: string): string[] {
    return this.orchestrator.instances(app).map(({ launch, state }) => `${launch.shell} ${state}`);
  }

  close(): void {
    this.#abort.abort();
    this.orchestrator.close();
    this.#view?.close();
  }
}

const worlds: World[] = [];
async function world(agents: number): Promise<World> {
  const made = await new World(agents).start();
  worlds.push(made);
  return made;
}
afterEach(() => {
  for (const each of worlds.splice(0)) each.close();
});

describe('the orchestrator', () => {
  it('brings apps to agents, which learn of them at once, and tells of it', async () => {
    const here = await world(2);
    const { orchestrator, nodes, events } = here;
    const { revision } = await orchestrator.poll(nodes[0]!, undefined, at(0));
    const polled = orchestrator.poll(nodes[0]!, revision, at(waitMs));
    await here.put(testApp({ id: '/web', instances: 2, cmd: 'one' }));
    expect((await polled).tasks).toHaveLength(1);
    for (const node of nodes) here.agent(node);
    await expect.poll(() => here.shells('/web')).toEqual(['one TASK_RUNNING', 'one TASK_RUNNING']);
    await expect.poll(() => orchestrator.deployments()).toEqual([]);
    expect(events.map(({ eventType }) => eventType)).toContain('deployment_success');
    expect(orchestrator.versions('/web')).toEqual([orchestrator.app('/web')?.version]);
    expect(orchestrator.instances('/web')[0]).toMatchObject({
      ipAddresses: [{ ipAddress: '9.0.0.2', protocol: 'IPv4' }],
      condition: 'Running',
    });
    expect(here.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('goes on with the very first deployment after a restart in the middle of it', async () => {
    const here = await world(1);
    await here.put(testApp({ id: '/web', instances: 1, cmd: 'one' }));
    expect(here.orchestrator.deployments()).toHaveLength(1);
    await here.restart();
    expect(here.orchestrator.deployments()).toHaveLength(1);
    here.agent(here.nodes[0]!);
    await expect.poll(() => here.orchestrator.deployments()).toEqual([]);
    expect(here.shells('/web')).toEqual(['one TASK_RUNNING']);
  });

  it('tells an agent which volumes to remove until it has that on disk, through a restart of the master', async () => {
    const here = await world(1);
    const [node] = here.nodes;
    const persistent = { size: 10, type: 'root' as const, constraints: [] };
    const volumes = [{ containerPath: 'data', mode: 'RW' as const, persistent }];
    const app = testApp({ id: '/db', instances: 1, container: { type: 'MESOS', volumes } });
    await here.put(app);
    const [task] = here.orchestrator.instances('/db');
    const [volume = ''] = (task?.localVolumes ?? []).map(({ persistenceId }) => persistenceId);
    await here.orchestrator.kill([task?.taskId ?? ''], { wipe: true });
    const told = await here.orchestrator.poll(node!, undefined, at(0));
    expect(told.wipe).toEqual([volume]);
    await here.restart();
    const again = await here.orchestrator.poll(node!, undefined, at(0));
    expect(again).toMatchObject({ revision: told.revision, wipe: [volume] });
    // Asking with the revision, it says that it has the list.
    const after = await here.orchestrator.poll(node!, again.revision, at(waitMs));
    expect(after).toMatchObject({ wipe: [] });
    await here.restart();
    expect((await here.orchestrator.poll(node!, undefined, at(0))).wipe).toEqual([]);
  });

  it('withdraws old ones everywhere before they are killed', async () => {
    const here = await world(3);
    for (const node of here.nodes) here.agent(node);
    await here.put(testApp({ id: '/web', instances: 1, cmd: 'one' }));
    await expect.poll(() => here.shells('/web')).toEqual(['one TASK_RUNNING']);
    const [old] = here.orchestrator.instances('/web');
    await here.put(testApp({ id: '/web', instances: 1, cmd: 'two' }), true);
    await expect.poll(() => here.shells('/web')).toEqual(['two TASK_RUNNING']);
    const key = taskKey(old!.node, old!.taskId);
    expect(here.asked.sort()).toEqual(['agent1', 'agent2', 'agent3'].map((name) => `${name} ${key}`));
  });

  it('goes on with a deployment where the master before was killed, at any moment', async () => {
    const here = await world(3);
    for (const node of here.nodes) here.agent(node);
    await here.put(testApp({ id: '/web', instances: 3, cmd: 'one' }));
    await expect.poll(() => here.orchestrator.deployments()).toEqual([]);
    await here.put(testApp({ id: '/web', instances: 3, cmd: 'two' }));
    for (let i = 0; i < 12; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      await here.restart();
    }
    await expect
      .poll(() => [here.orchestrator.deployments().length, ...here.shells('/web')])
      .toEqual([0, 'two TASK_RUNNING', 'two TASK_RUNNING', 'two TASK_RUNNING']);
    expect(here.orchestrator.versions('/web')).toHaveLength(2);
  });

  it('refuses what a running deployment locks, and reverts it by another', async () => {
    const here = await world(1);
    const { orchestrator } = here;
    const first = await here.put(testApp({ id: '/a/web', cmd: 'one' }));
    const told: AppEvent[] = [];
    const stop = orchestrator.subscribe((event) => told.push(event));
    await expect(here.put(testApp({ id: '/a/web', cmd: 'two' }))).rejects.toMatchObject({
      code: 'conflict',
      details: { deployments: [{ id: first.deploymentId }] },
    });
    stop();
    expect(told).toMatchObject([{ eventType: 'group_change_failed', groupId: '/a' }]);
    const reverted = await orchestrator.cancel(first.deploymentId, { force: false });
    expect(reverted?.deploymentId).toBeDefined();
    expect(orchestrator.root()).toMatchObject({ apps: [], groups: [] });
    here.agent(here.nodes[0]!);
    await expect.poll(() => [orchestrator.deployments(), orchestrator.instances()]).toEqual([[], []]);
    expect(orchestrator.rootAt(first.version)?.groups).toHaveLength(1);
    await expect(orchestrator.cancel('none', { force: true })).rejects.toMatchObject({ code: 'not-found' });
  });

  it('answers nothing that a failed commit has lost, and reads the store again', async () => {
    const here = await world(1);
    here.store.failCommits(1);
    await expect(here.put(testApp({ id: '/web' }))).rejects.toMatchObject({ code: 'unavailable' });
    await expect.poll(() => isReady(here.orchestrator)).toBe(true);
    expect(here.orchestrator.app('/web')).toBeUndefined();
    await here.put(testApp({ id: '/web' }));
    expect(here.orchestrator.instances('/web')).toHaveLength(1);
  });

  it('empties an agent that its operator drains', async () => {
    const here = await world(2);
    for (const node of here.nodes) here.agent(node);
    await here.put(testApp({ id: '/web', instances: 4 }));
    await expect.poll(() => here.orchestrator.deployments()).toEqual([]);
    await here.orchestrator.setDrained(here.nodes[0]!, true);
    await here.restart();
    expect(here.orchestrator.isDrained(here.nodes[0]!)).toBe(true);
    await expect
      .poll(() => here.orchestrator.instances('/web').map(({ host }) => host))
      .toEqual(['agent2', 'agent2', 'agent2', 'agent2']);
  });
});

const at = (ms: number) => ({ waitMs: ms, signal: new AbortController().signal });

function isReady(orchestrator: AppOrchestrator): boolean {
  try {
    orchestrator.root();
    return true;
  } catch {
    return false;
  }
}
