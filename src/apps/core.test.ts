import { beforeEach, describe, expect, it } from 'vitest';
import { seededRandom, randomBelow } from '../base/random.ts';
import { UNHEALTHY_REASON } from '../model/task.ts';
import { testAgents, testApp, TestWorld } from './fake.ts';
import { isOccupying } from './instance.ts';
import { emptyGroup, putApp, putGroup } from './tree.ts';
import { capacityOf } from './upgrade.ts';

const versionsOf = (world: TestWorld, app: string): string[] =>
  world.tasks(app).map(({ launch }) => launch.shell ?? '');

describe('a deployment', () => {
  it('starts apps in the order of their dependencies, each layer when the one before runs', () => {
    const world = new TestWorld(testAgents(3));
    world.deploy([
      testApp({ id: '/db', instances: 2 }),
      testApp({ id: '/web', instances: 3, dependencies: ['/db'] }),
    ]);
    expect(world.tasks('/db')).toHaveLength(2);
    expect(world.tasks('/web')).toHaveLength(0);
    expect(world.core.deployments()[0]).toMatchObject({ currentStep: 2, totalSteps: 3 });
    world.settle();
    expect(world.tasks('/web')).toHaveLength(3);
    expect(world.core.deployments()).toEqual([]);
    const told = world.events.map(({ eventType }) => eventType);
    expect(told.filter((each) => each === 'deployment_step_success')).toHaveLength(3);
    expect(told.at(-1)).toBe('deployment_success');
  });

  it('tells tasks whether the group they are in enforces its role', () => {
    const world = new TestWorld(testAgents(1));
    const version = '2026-06-02T00:00:00.000Z';
    const group = { ...emptyGroup('/dev', version), enforceRole: true };
    let target = putGroup(world.core.root, group, version);
    for (const id of ['/dev/web', '/web']) target = putApp(target, testApp({ id }), version);
    world.step({ kind: 'deploy', id: 'd', version, target, force: false, restart: [], kill: [] });
    const told = world
      .tasks()
      .map(({ app, launch }) => [app, launch.env['MARATHON_APP_ENFORCE_GROUP_ROLE']] as const);
    expect(Object.fromEntries(told)).toEqual({ '/dev/web': 'TRUE', '/web': 'FALSE' });
  });

  it('that changes nothing is over at once, also while another one goes on', () => {
    const world = new TestWorld(testAgents(1));
    const first = world.deploy([testApp({ id: '/web' })]);
    const same = world.deploy([testApp({ id: '/web' })]);
    expect(world.core.deployments().map(({ id }) => id)).toEqual([first]);
    expect(world.events.at(-1)).toMatchObject({ eventType: 'deployment_success', id: same });
  });

  it('refuses more than may run at once, unless one takes the place of another', () => {
    const world = new TestWorld(testAgents(1));
    for (let i = 1; i <= 5; i++) world.deploy([testApp({ id: `/web${i}` })]);
    expect(() => world.deploy([testApp({ id: '/web6' })])).toThrow(
      expect.objectContaining({
        code: 'forbidden',
        message: 'Cannot deploy: 5 deployments are running, 5 may',
      }),
    );
    expect(world.core.root.apps).toHaveLength(5);
    world.deploy([testApp({ id: '/web5', instances: 2 })], { force: true });
    world.settle();
    world.deploy([testApp({ id: '/web6' })]);
    expect(world.core.deployments()).toHaveLength(1);
  });

  it('refuses a second one of the same app, and takes over by force', () => {
    const world = new TestWorld(testAgents(1));
    const first = world.deploy([testApp({ id: '/web' })]);
    expect(() => world.deploy([testApp({ id: '/web', instances: 2 })])).toThrow(
      expect.objectContaining({
        code: 'conflict',
        details: { deployments: [{ id: first }], groupId: '/' },
      }),
    );
    expect(world.core.root.apps[0]?.instances).toBe(1);
    world.deploy([testApp({ id: '/web', instances: 2 })], { force: true });
    expect(world.events.find(({ eventType }) => eventType === 'deployment_failed')).toMatchObject({
      id: first,
    });
    world.settle();
    expect(world.tasks('/web')).toHaveLength(2);
  });

  it('upgrades with one more while the old ones serve, drains them, and kills them after the grace period', () => {
    const world = new TestWorld(testAgents(2));
    world.deploy([testApp({ id: '/web', instances: 2, cmd: 'one' })]);
    world.settle();
    const old = world.tasks('/web').map(({ taskId }) => taskId);
    world.deploy([testApp({ id: '/web', instances: 2, cmd: 'two' })]);
    expect(versionsOf(world, '/web').sort()).toEqual(['one', 'one', 'two', 'two']);
    for (const { taskId, launch } of world.tasks('/web'))
      if (launch.shell === 'two') world.set(taskId, 'TASK_RUNNING');
    expect(old.map((task) => world.core.instance(task)?.stored.launch.goal)).toEqual([
      'draining',
      'draining',
    ]);
    world.step({ kind: 'withdrawn', tasks: old });
    world.clock.advance(999);
    world.step({ kind: 'tick' });
    expect(world.core.instance(old[0] ?? '')?.stored.launch.goal).toBe('draining');
    world.clock.advance(1);
    world.step({ kind: 'tick' });
    expect(world.core.instance(old[0] ?? '')?.stored.launch.goal).toBe('killed');
    world.settle();
    expect(versionsOf(world, '/web')).toEqual(['two', 'two']);
    expect(world.core.deployments()).toEqual([]);
  });

  it('tells of a task that drains that it is being killed, while it still serves', () => {
    const world = new TestWorld(testAgents(1));
    world.deploy([testApp({ id: '/web', instances: 1, cmd: 'one' })]);
    world.settle();
    const [old = ''] = world.tasks('/web').map(({ taskId }) => taskId);
    const told = (): readonly string[] =>
      world.events.flatMap((each) => ('taskStatus' in each && each.taskId === old ? [each.taskStatus] : []));
    world.deploy([testApp({ id: '/web', instances: 0, cmd: 'one' })]);
    world.set(old, 'TASK_RUNNING', { draining: true });
    expect(told().at(-1)).toBe('TASK_KILLING');
    world.set(old, 'TASK_KILLING', { draining: true });
    world.set(old, 'TASK_KILLED', { draining: true });
    expect(told().slice(-2)).toEqual(['TASK_KILLING', 'TASK_KILLED']);
    expect(told().filter((state) => state === 'TASK_KILLING')).toHaveLength(1);
  });

  it('goes on under another master, from the store alone', () => {
    const world = new TestWorld(testAgents(3));
    world.deploy([testApp({ id: '/web', instances: 4, cmd: 'one' })]);
    world.restart();
    world.settle();
    world.deploy([testApp({ id: '/web', instances: 4, cmd: 'two' })]);
    for (let i = 0; i < 40; i++) {
      for (const { taskId } of world.tasks().slice(0, 2)) world.work(taskId);
      world.clock.advance(300);
      world.step({ kind: 'tick' });
      world.restart();
    }
    world.settle();
    expect(versionsOf(world, '/web')).toEqual(['two', 'two', 'two', 'two']);
    expect(world.core.deployments()).toEqual([]);
  });

  it('restarts an app whose definition is the same, and stops one that is gone', () => {
    const world = new TestWorld(testAgents(2));
    world.deploy([testApp({ id: '/web', instances: 2 }), testApp({ id: '/gone' })]);
    world.settle();
    const before = world.tasks('/web').map(({ taskId }) => taskId);
    world.deploy([], { restart: ['/web'], remove: ['/gone'] });
    world.settle();
    expect(world.tasks('/web').some(({ taskId }) => before.includes(taskId))).toBe(false);
    expect(world.tasks()).toHaveLength(2);
    expect(world.events.filter(({ eventType }) => eventType === 'app_terminated_event')).toHaveLength(1);
  });

  it('keeps those that fit when it goes back to a configuration before', () => {
    const world = new TestWorld(testAgents(2));
    world.deploy([testApp({ id: '/web', instances: 2, cmd: 'one' })]);
    world.settle();
    const good = world.tasks('/web').map(({ taskId }) => taskId);
    world.deploy([testApp({ id: '/web', instances: 2, cmd: 'broken' })]);
    world.deploy([testApp({ id: '/web', instances: 2, cmd: 'one' })], { force: true });
    world.settle();
    expect(world.tasks('/web').map(({ taskId }) => taskId)).toEqual(good);
  });

  it('moves an app from one network mode to another', () => {
    const world = new TestWorld(testAgents(2));
    world.deploy([testApp({ id: '/web', instances: 3, networks: [{ mode: 'host' }], portDefinitions: [] })]);
    world.settle();
    world.deploy([testApp({ id: '/web', instances: 3 })]);
    world.settle();
    expect(world.tasks('/web').map(({ launch }) => launch.networks[0]?.mode)).toEqual(
      Array(3).fill('container'),
    );
  });
});

describe('tasks that end', () => {
  it('are replaced after a delay that grows, and the last failure is told', () => {
    const world = new TestWorld(testAgents(1));
    world.deploy([testApp({ id: '/web', backoffSeconds: 2, backoffFactor: 3, maxLaunchDelaySeconds: 10 })]);
    const delays = [2, 6, 10, 10].map(() => {
      world.set(world.tasks('/web')[0]?.taskId ?? '', 'TASK_FAILED', { message: 'exit 1' });
      expect(world.tasks('/web')).toHaveLength(0);
      const [waiting] = world.core.queue(world.clock.nowMs());
      const seconds = waiting?.delay.timeLeftSeconds ?? 0;
      world.clock.advance(seconds * 1000 - 1);
      world.step({ kind: 'tick' });
      expect(world.tasks('/web')).toHaveLength(0);
      world.clock.advance(1);
      world.step({ kind: 'tick' });
      expect(world.tasks('/web')).toHaveLength(1);
      return seconds;
    });
    expect(delays).toEqual([2, 6, 10, 10]);
    expect(world.core.lastFailure('/web')).toMatchObject({ state: 'TASK_FAILED', message: 'exit 1' });
  });

  it('are replaced at once when somebody killed them, and when the delay is reset', () => {
    const world = new TestWorld(testAgents(1));
    world.deploy([testApp({ id: '/web', backoffSeconds: 100 })]);
    world.settle();
    const first = world.tasks('/web')[0]?.taskId ?? '';
    world.step({ kind: 'kill', tasks: [first], wipe: false });
    expect(world.tasks('/web')).toHaveLength(2);
    world.settle();
    const second = world.tasks('/web')[0]?.taskId ?? '';
    expect(second).not.toBe(first);
    world.set(second, 'TASK_FINISHED');
    expect(world.tasks('/web')).toHaveLength(0);
    expect(world.core.waits('/web')).toBe(true);
    world.step({ kind: 'reset-delay', app: '/web' });
    expect(world.tasks('/web')).toHaveLength(1);
  });

  it('are killed and replaced when too many health checks in a row have failed', () => {
    const check = {
      ...{
        protocol: 'COMMAND' as const,
        command: { value: 'false' },
        gracePeriodSeconds: 1,
        intervalSeconds: 1,
      },
      ...{ timeoutSeconds: 1, maxConsecutiveFailures: 3, delaySeconds: 0, ipProtocol: 'IPv4' as const },
    };
    const world = new TestWorld(testAgents(1));
    world.deploy([testApp({ id: '/web', healthChecks: [check] })]);
    const task = world.tasks('/web')[0]?.taskId ?? '';
    const fail = (count: number) =>
      world.set(task, 'TASK_RUNNING', {
        ...{ checked: true, healthy: false },
        health: [{ index: 0, alive: false, consecutive_failures: count, last_failure_cause: 'exit 1' }],
      });
    fail(2);
    expect(world.core.instance(task)?.stored.launch.goal).toBe('running');
    fail(3);
    fail(3);
    expect(world.core.instance(task)?.stored.launch.goal).toBe('killed');
    expect(world.tasks('/web')).toHaveLength(2);
    const message = 'Health check failed 3 times in a row: exit 1';
    world.set(task, 'TASK_KILLED', { reason: 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED', message });
    expect(world.core.lastFailure('/web')).toMatchObject({ state: 'TASK_KILLED', taskId: task, message });
    const told = world.events.filter(({ eventType }) => eventType.includes('health'));
    expect(told.map(({ eventType }) => eventType)).toEqual([
      'add_health_check_event',
      'instance_health_changed_event',
      'health_status_changed_event',
      'failed_health_check_event',
      'failed_health_check_event',
      'unhealthy_instance_kill_event',
    ]);
  });

  it.each(['TASK_KILLING', 'TASK_KILLED'] as const)(
    'are told as killed for their health when the first news of it is that they are %s',
    (state) => {
      const world = new TestWorld(testAgents(1));
      const check = {
        ...{ protocol: 'COMMAND' as const, command: { value: 'false' }, timeoutSeconds: 1, delaySeconds: 0 },
        ...{
          gracePeriodSeconds: 1,
          intervalSeconds: 1,
          maxConsecutiveFailures: 3,
          ipProtocol: 'IPv4' as const,
        },
      };
      world.deploy([testApp({ id: '/web', healthChecks: [check] })]);
      const task = world.tasks('/web')[0]?.taskId ?? '';
      const healthy = { index: 0, alive: true, consecutive_failures: 0 };
      world.set(task, 'TASK_RUNNING', { checked: true, healthy: true, health: [healthy] });
      const ending = {
        ...{ checked: true, healthy: false, reason: UNHEALTHY_REASON, message: 'too often' },
        health: [{ index: 0, alive: false, consecutive_failures: 3, last_failure_cause: 'refused' }],
      };
      world.set(task, state, ending);
      world.set(task, 'TASK_KILLED', ending);
      const told = world.events.filter(({ eventType }) => eventType === 'unhealthy_instance_kill_event');
      expect(told).toEqual([expect.objectContaining({ taskId: task, reason: 'refused', appId: '/web' })]);
      expect(world.tasks('/web').map(({ taskId }) => taskId)).not.toContain(task);
      expect(world.tasks('/web')).toHaveLength(1);
    },
  );
});

describe('volumes', () => {
  const volume = { containerPath: 'data', mode: 'RW' as const };
  const persistent = { size: 10, type: 'root' as const, constraints: [] };
  const db = testApp({
    id: '/db',
    residency: { relaunchEscalationTimeoutSeconds: 3600, taskLostBehavior: 'WAIT_FOREVER' },
    unreachableStrategy: 'disabled',
    upgradeStrategy: { minimumHealthCapacity: 1, maximumOverCapacity: 0 },
    container: { type: 'MESOS', volumes: [{ ...volume, persistent }] },
    instances: 2,
  });
  let world = new TestWorld(testAgents(3));
  const placed = () =>
    world.tasks('/db').map(({ node, volumes, instanceId }) => ({ node, volumes, instanceId }));
  const idsOf = (task: ReturnType<typeof placed>[number] | undefined): string[] =>
    (task?.volumes ?? []).map(({ persistenceId }) => persistenceId);

  beforeEach(() => {
    world = new TestWorld(testAgents(3));
    world.deploy([db]);
    world.settle();
  });

  it('stay with the instance: its next task comes to the same agent and has them again', () => {
    const before = placed();
    world.deploy([{ ...db, cmd: 'other' }]);
    world.settle();
    const after = world.tasks('/db');
    expect(after.map(({ launch }) => launch.shell)).toEqual(['other', 'other']);
    expect(placed()).toEqual(expect.arrayContaining(before));
    expect(after.every(({ taskId }) => taskId.endsWith('._app.2'))).toBe(true);
    for (const { node } of world.agents) expect(world.core.wipesOn(node)).toEqual([]);
  });

  it('stay when a task is killed: the next one waits for its end and has them again', () => {
    const before = placed();
    const [task] = world.tasks('/db');
    world.step({ kind: 'kill', tasks: [task?.taskId ?? ''], wipe: false });
    expect(world.tasks('/db')).toHaveLength(2);
    world.settle();
    expect(placed().toSorted(byInstance)).toEqual(before.toSorted(byInstance));
    expect(world.tasks('/db').map(({ taskId }) => taskId)).not.toContain(task?.taskId);
  });

  it('stay when the app is scaled down, and are there when it is scaled up again', () => {
    const before = placed();
    world.deploy([{ ...db, instances: 0 }]);
    world.settle();
    expect(placed()).toEqual([]);
    world.restart();
    world.deploy([db]);
    world.settle();
    expect(placed().toSorted(byInstance)).toEqual(before.toSorted(byInstance));
  });

  it('are wiped on their agent with the tasks that are killed so; the next tasks have others', () => {
    const [first, second] = world.tasks('/db');
    const [gone, stays] = placed();
    world.step({ kind: 'kill', tasks: [first?.taskId ?? ''], wipe: true });
    expect(world.core.wipesOn(gone!.node)).toEqual(idsOf(gone));
    // Another master knows it as well.
    world.restart();
    expect(world.core.wipesOn(gone!.node)).toEqual(idsOf(gone));
    world.settle();
    const after = placed();
    expect(after).toHaveLength(2);
    expect(after.find(({ instanceId }) => instanceId === second?.instanceId)).toEqual(stays);
    expect(after.flatMap((task) => idsOf(task))).not.toContain(idsOf(gone)[0]);
    const effects = world.step({ kind: 'wipes-taken', node: gone!.node, volumes: idsOf(gone) });
    expect(effects.nodes).toContain(gone!.node);
    expect(world.core.wipesOn(gone!.node)).toEqual([]);
    world.restart();
    expect(world.core.wipesOn(gone!.node)).toEqual([]);
  });

  it('are wiped when the app is removed, also on an agent that is away', () => {
    const before = placed();
    const away = before[0]!.node;
    world.setReachable(away, false);
    world.deploy([], { remove: ['/db'] });
    world.clock.advance(60_000);
    world.step({ kind: 'tick' });
    world.settle();
    expect(placed()).toEqual([]);
    for (const task of before)
      expect(world.core.wipesOn(task.node)).toEqual(expect.arrayContaining(idsOf(task)));
  });

  it('that wait for their task are wiped with the app’s others when all of it is meant', () => {
    const before = placed();
    world.deploy([{ ...db, instances: 0 }]);
    world.settle();
    world.step({ kind: 'kill', tasks: [], wipe: true, wipeApp: '/db' });
    for (const task of before)
      expect(world.core.wipesOn(task.node)).toEqual(expect.arrayContaining(idsOf(task)));
    world.deploy([db]);
    world.settle();
    expect(placed().flatMap((task) => idsOf(task))).not.toEqual(
      expect.arrayContaining(before.flatMap((task) => idsOf(task))),
    );
  });

  it('of a host that was removed from the cluster hold their instance no longer', () => {
    const [gone] = placed();
    world.removeAgent(gone!.node);
    world.settle();
    const after = placed();
    expect(after).toHaveLength(2);
    expect(after.map(({ node }) => node)).not.toContain(gone!.node);
    expect(world.core.wipesOn(gone!.node)).toEqual([]);
  });
});

const byInstance = (a: { instanceId: string }, b: { instanceId: string }): number =>
  a.instanceId < b.instanceId ? -1 : 1;

describe('under random failures', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'launches nothing beyond the capacity and gets there in the end (seed %i)',
    (seed) => {
      const random = seededRandom(seed);
      const world = new TestWorld(testAgents(4));
      const minimum = [0, 0.5, 0.75, 1][randomBelow(random, 4)] ?? 1;
      const over = [0, 0.25, 1][randomBelow(random, 3)] ?? 1;
      const app = (cmd: string) =>
        testApp({
          ...{ id: '/web', instances: 4, cmd, backoffSeconds: 0.1, maxLaunchDelaySeconds: 1 },
          upgradeStrategy: { minimumHealthCapacity: minimum, maximumOverCapacity: over },
          unreachableStrategy: { inactiveAfterSeconds: 2, expungeAfterSeconds: 5 },
        });
      world.deploy([app('v0')]);
      world.settle();
      const most = capacityOf(app('x'), 4).maxCapacity;
      for (let round = 0; round < 150; round++) {
        if (round % 50 === 10) world.deploy([app(`v${round}`)], { force: true });
        const tasks = world.tasks();
        const known = new Set(tasks.map(({ taskId }) => taskId));
        const victim = tasks[randomBelow(random, Math.max(1, tasks.length))]?.taskId ?? '';
        const dice = random.next();
        if (dice < 0.05) world.set(victim, 'TASK_FAILED');
        else if (dice < 0.08)
          world.setReachable(world.agents[randomBelow(random, 4)]!.node, random.next() < 0.7);
        else if (dice < 0.12) world.restart();
        else world.work(victim);
        world.clock.advance(randomBelow(random, 700));
        world.step({ kind: 'tick' });
        const isNew = world.tasks().some(({ taskId }) => !known.has(taskId));
        // While nothing is deployed, what ends is replaced though a returned one still ends too.
        if (!isNew || world.core.deployments().length === 0) continue;
        const holding = world.core.instances().filter((each) => isOccupying(each));
        expect(holding.length).toBeLessThanOrEqual(most);
      }
      for (const { node } of world.agents) world.setReachable(node, true);
      world.settle();
      expect(versionsOf(world, '/web')).toEqual(Array(4).fill('v110'));
      expect(world.core.deployments()).toEqual([]);
    },
  );
});
