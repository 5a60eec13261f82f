/**
 * Many agents and a master that crashes, with the shipped registration code on both sides: messages are lost, answers
 * are lost, nodes are removed, and in the end everybody holds exactly what the store says.
 */
import { describe, expect, test } from 'vitest';
import { createRegistration } from '../src/agent/registration.ts';
import { ManualClock } from '../src/base/clock.ts';
import { PortolanError } from '../src/base/errors.ts';
import { silentLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { seededRandom, type Random } from '../src/base/random.ts';
import type { Answer, HttpTarget, RequestInit } from '../src/http/client.ts';
import { openRegistry } from '../src/master/fake.ts';
import { newNodeId, type NodeId } from '../src/model/names.ts';
import { agentNetworkConfig } from '../src/model/overlay.ts';
import type { UpdateAgentOverlays } from '../src/model/registration.ts';
import { FakeDisk } from '../src/store/fake.ts';

const AGENTS = 12;
const unreachable = () => new PortolanError('unavailable', 'Cannot reach the master');

type Master = Awaited<ReturnType<typeof openRegistry>>;

class Cluster {
  readonly clock = new ManualClock();
  readonly random: Random;
  readonly disk = new FakeDisk();
  /** Chance that a request, or its answer, is lost. */
  loss = 0;
  master: Master | undefined;
  readonly agents: Agent[];

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.agents = Array.from({ length: AGENTS }, (_, i) => new Agent(this, `10.0.0.${11 + i}`));
  }

  async startMaster(): Promise<void> {
    this.master = await openRegistry({ disk: this.disk });
  }

  /** What was not acknowledged may or may not have reached the disk. */
  crashMaster(): void {
    this.master?.store.crash(Math.floor(this.random.next() * 3));
    this.master?.registry.close();
    this.master = undefined;
  }

  allRegistered(): boolean {
    return this.agents.every(({ registration }) => registration.state().status === 'REGISTERED');
  }

  request = async (_target: HttpTarget, { method, path, body }: RequestInit): Promise<Answer> => {
    const { master } = this;
    if (master === undefined || this.random.next() < this.loss) throw unreachable();
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await master.app.request(path, { method, ...text });
    const answer = (await response.json()) as unknown;
    if (master !== this.master || this.random.next() < this.loss) throw unreachable();
    return { status: response.status, body: answer };
  };

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 500) {
      this.clock.advance(500);
      for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

class Agent {
  node: NodeId;
  grant: UpdateAgentOverlays | undefined;
  readonly registration: ReturnType<typeof createRegistration>;

  constructor(cluster: Cluster, address: string) {
    const { clock, random } = cluster;
    this.node = newNodeId(random);
    const components = { clock, random, log: silentLog, metrics: createMetrics(), request: cluster.request };
    this.registration = createRegistration(components, {
      masters: () => ['10.0.0.1:5050'],
      maxConfigurationAttempts: 4,
      registration: () => ({
        node: this.node,
        ...(this.grant === undefined ? {} : { cluster: this.grant.cluster }),
        name: address,
        address,
        gossip_port: 62_501,
        api_port: 5051,
        network_config: agentNetworkConfig.parse({}),
      }),
      configure: (grant) => {
        this.grant = grant;
        const ok = random.next() > cluster.loss;
        const state = { status: ok ? ('STATUS_OK' as const) : ('STATUS_FAILED' as const) };
        return Promise.resolve(grant.overlays.map((overlay) => ({ ...overlay, state })));
      },
      onRemoved: () => {
        this.node = newNodeId(random);
        this.grant = undefined;
        return Promise.resolve();
      },
    });
  }

  /** The addresses it believes to hold, and since which epoch. */
  blocks(): readonly string[] {
    return this.grant?.overlays.map(({ subnet, subnet6 }) => subnet ?? subnet6 ?? '') ?? [];
  }
}

/** Of agents that were not removed, no two may hold one block; the removed are told apart by epoch. */
function expectNoDoubleHolder(cluster: Cluster): void {
  const removed = (agent: Agent) => cluster.disk.entries.has(`removed/${agent.node}`);
  const held = cluster.agents.filter((agent) => !removed(agent)).flatMap((agent) => agent.blocks());
  expect(new Set(held).size).toBe(held.length);
}

async function live(cluster: Cluster): Promise<void> {
  cluster.loss = 0.3;
  await cluster.startMaster();
  for (const agent of cluster.agents) agent.registration.start();
  for (let round = 0; round < 10; round++) {
    await cluster.pass(3000);
    expectNoDoubleHolder(cluster);
    const chance = cluster.random.next();
    if (cluster.master === undefined) await cluster.startMaster();
    else if (chance < 0.4) cluster.crashMaster();
    else if (chance < 0.7) await removeOne(cluster, cluster.master);
  }
}

async function removeOne(cluster: Cluster, master: Master): Promise<void> {
  const agent = cluster.agents[Math.floor(cluster.random.next() * AGENTS)];
  if (agent !== undefined) await master.registry.remove([agent.node]);
}

describe('a cluster of agents and a master that crashes', () => {
  test.each([1, 2, 3, 4, 5])(
    'ends with everybody registered and holding what the store says (seed %i)',
    async (seed) => {
      const cluster = new Cluster(seed);
      await live(cluster);
      cluster.loss = 0;
      // A removed node that missed the gossip of it learns at the latest when it registers with another master.
      cluster.crashMaster();
      await cluster.startMaster();
      await cluster.pass(6000);
      for (let i = 0; i < 60 && !cluster.allRegistered(); i++) await cluster.pass(20_000);
      expectNoDoubleHolder(cluster);
      const { ledger } = (cluster.master as Master).registry;
      for (const agent of cluster.agents) {
        expect(agent.registration.state().status).toBe('REGISTERED');
        const grant = ledger.node(agent.node)?.grant;
        expect(grant?.overlays.map(({ subnet, subnet6 }) => String(subnet ?? subnet6))).toEqual(
          agent.blocks(),
        );
        await agent.registration.stop();
      }
      expect(ledger.size).toBe(AGENTS);
    },
  );
});
