import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { seededRandom } from '../base/random.ts';
import type { Answer, HttpTarget, RequestInit } from '../http/client.ts';
import { newClusterId, newNodeId, type NodeId } from '../model/names.ts';
import { agentNetworkConfig, type AgentOverlay } from '../model/overlay.ts';
import { REGISTERED_PATH, REGISTER_PATH, type RegisterAgent } from '../model/registration.ts';
import { HEALTH_INTERVAL_MS } from '../overlay/registration.ts';
import { createRegistration } from './registration.ts';

const random = seededRandom(5);
const cluster = newClusterId(random);
const overlay: AgentOverlay = {
  info: { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true },
  subnet: '9.0.0.0/24',
  backend: {
    vxlan: { vni: 1024, vtep_name: 'vtep1024', vtep_ip: '44.128.0.1/20', vtep_mac: '70:b3:d5:80:00:01' },
  },
};
const ok = { ...overlay, state: { status: 'STATUS_OK' as const } };

/** A master in memory: answers as the real one does, or not at all. */
class FakeMaster {
  instance = 'm1';
  reachable = true;
  readonly removed = new Set<NodeId>();
  readonly heard: string[] = [];

  request = (_target: HttpTarget, { path, body }: RequestInit): Promise<Answer> => {
    if (!this.reachable) return Promise.reject(new PortolanError('unavailable', 'Cannot reach the master'));
    this.heard.push(path);
    return Promise.resolve(this.#answer(path, body));
  };

  #answer(path: string, body: unknown): Answer {
    if (path === REGISTERED_PATH) return { status: 200, body: { master: this.instance } };
    if (path !== REGISTER_PATH)
      return { status: 200, body: { status: 'ok', master: this.instance, cluster } };
    if (this.removed.has((body as RegisterAgent).node))
      return { status: 403, body: { code: 'forbidden', message: 'removed', details: { removed: true } } };
    const update = { cluster, master: this.instance, grant_epoch: 1, overlays: [overlay], contacts: [] };
    return { status: 200, body: update };
  }

  count(path: string): number {
    return this.heard.filter((each) => each === path).length;
  }
}

type Configure = (grant: unknown, changed: readonly string[]) => Promise<readonly AgentOverlay[]>;

function set(configure: Configure = () => Promise.resolve([ok])) {
  const master = new FakeMaster();
  const clock = new ManualClock();
  const log = memoryLog();
  const metrics = createMetrics();
  const agent = { node: newNodeId(random), renewed: 0 };
  const confirmed = { times: 0 };
  const registration = createRegistration(
    { clock, random, log, metrics, request: master.request },
    {
      masters: () => ['10.0.0.1:5050'],
      maxConfigurationAttempts: 4,
      registration: () => ({
        node: agent.node,
        name: 'a1',
        address: '10.0.0.11',
        gossip_port: 62_501,
        api_port: 5051,
        network_config: agentNetworkConfig.parse({}),
      }),
      configure,
      onConfirmed: () => (confirmed.times += 1),
      onRemoved: () => {
        agent.node = newNodeId(random);
        agent.renewed += 1;
        return Promise.resolve();
      },
    },
  );
  return { master, clock, log, metrics, agent, registration, confirmed };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('createRegistration', () => {
  test('registers, reports and is ready', async () => {
    const { registration, master, metrics } = set();
    registration.start();
    await registration.ready();
    expect(registration.state()).toEqual({ status: 'REGISTERED', configuration_attempts: 1, overlays: [ok] });
    expect(master.heard).toEqual([REGISTER_PATH, REGISTERED_PATH]);
    expect((await metrics.snapshot())['portolan_overlay_agent_registering']).toBe(0);
    await registration.stop();
  });

  test('asks soon when told to, and then at its pace again', async () => {
    const { registration, master, clock } = set();
    registration.start();
    await registration.ready();
    registration.askSoon(64);
    clock.advance(64);
    await settle();
    expect(master.heard).toEqual([REGISTER_PATH, REGISTERED_PATH, '/health']);
    clock.advance(HEALTH_INTERVAL_MS - 100);
    await settle();
    expect(master.heard).toHaveLength(3);
    clock.advance(100);
    await settle();
    expect(master.heard).toHaveLength(4);
    await registration.stop();
  });

  test('is confirmed by the masters it is registered with, as of when they were asked', async () => {
    const { registration, master, clock, confirmed } = set();
    expect(registration.confirmedAt()).toBe(-Infinity);
    const startedAt = clock.nowMs();
    registration.start();
    await registration.ready();
    await settle();
    expect([registration.confirmedAt(), confirmed.times]).toEqual([startedAt, 1]);
    clock.advance(HEALTH_INTERVAL_MS);
    await settle();
    const askedAt = startedAt + HEALTH_INTERVAL_MS;
    expect([registration.confirmedAt(), confirmed.times]).toEqual([askedAt, 2]);
    master.reachable = false;
    clock.advance(HEALTH_INTERVAL_MS);
    await settle();
    expect([registration.confirmedAt(), confirmed.times]).toEqual([askedAt, 2]);
    await registration.stop();
  });

  test('keeps trying while no master answers, and registers when one does', async () => {
    const { registration, master, clock, log } = set();
    master.reachable = false;
    registration.start();
    for (let i = 0; i < 10; i++) {
      await settle();
      clock.advance(60_000);
    }
    expect(registration.state()).toMatchObject({ status: 'REGISTERING', error: 'Cannot reach the master' });
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
    master.reachable = true;
    clock.advance(5000);
    await settle();
    await settle();
    expect(registration.state()).toMatchObject({ status: 'REGISTERED' });
    await registration.stop();
  });

  test('registers again when the master is another, without configuring what has not changed', async () => {
    const changes: (readonly string[])[] = [];
    const { registration, master, clock } = set((_, changed) => {
      changes.push(changed);
      return Promise.resolve([ok]);
    });
    registration.start();
    await registration.ready();
    master.instance = 'm2';
    clock.advance(5000);
    for (let i = 0; i < 5; i++) await settle();
    expect(master.count(REGISTER_PATH)).toBe(2);
    expect(changes).toEqual([['dcos'], []]);
    expect(registration.state()).toMatchObject({ status: 'REGISTERED', overlays: [ok] });
    await registration.stop();
  });

  test('reports an overlay whose configuration throws as failed, and tries again', async () => {
    let calls = 0;
    const { registration, clock, metrics } = set(() =>
      ++calls === 1 ? Promise.reject(new Error('no such device')) : Promise.resolve([ok]),
    );
    registration.start();
    for (let i = 0; i < 5; i++) await settle();
    expect(registration.state()).toMatchObject({
      status: 'REGISTERING',
      overlays: [{ state: { status: 'STATUS_FAILED', error: 'no such device' } }],
    });
    clock.advance(20_000);
    await registration.ready();
    expect((await metrics.snapshot())['portolan_overlay_agent_overlay_config_failures_total']).toBe(1);
    await registration.stop();
  });

  test('takes a new identity when the cluster has removed it', async () => {
    const { registration, master, clock, agent } = set();
    const before = agent.node;
    master.removed.add(before);
    registration.start();
    for (let i = 0; i < 4; i++) {
      await settle();
      clock.advance(20_000);
    }
    await registration.ready();
    expect([agent.renewed, agent.node === before]).toEqual([1, false]);
    await registration.stop();
  });

  test('calls nothing after it was stopped', async () => {
    const { registration, master, clock } = set();
    registration.start();
    await registration.ready();
    await registration.stop();
    const { length } = master.heard;
    clock.advance(3_600_000);
    await settle();
    expect(master.heard).toHaveLength(length);
  });
});
