/**
 * Run by vip.ts in a host's namespace: an agent's VIPs, fed by records, in that namespace's kernel.
 *
 * Reads one JSON command a line: `{"load": N}` (N VIPs of ten backends, and those that are called), `{"measure": true}`,
 * `{"ports": [{"link": L, "mac": M}]}` (the fast path to these containers and to no others).
 * Answers each with one line.
 */
import { createInterface } from 'node:readline';
import { realClock, sleep } from '../src/base/clock.ts';
import { prefix } from '../src/base/ip.ts';
import { createLog } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { Vips } from '../src/agent/vips.ts';
import { FastPath, LIBERAL_SYSCTL, type ContainerPort } from '../src/kernel/fastpath/fastpath.ts';
import { openKernel } from '../src/kernel/real.ts';
import { agentConfig } from '../src/model/config.ts';
import type { NodeId } from '../src/model/names.ts';
import type { GossipRecord, RecordValue } from '../src/model/record.ts';
import { RecordView } from '../src/node/record-view.ts';
import { memoryJournal } from '../src/store/memory-journal.ts';
import { VIP_TABLE } from '../src/vip/ruleset.ts';
import { percentile } from './support/stats.ts';

const BACKENDS = 10;
/** VIPs of apps with one port. */
const SINGLE = 10;
const PORTS = Array.from({ length: 10 }, (_, i) => 9000 + i);
const CHANGES = 2_000;
/** Records come from sockets, each message in a turn of its own, and the collector works in between. */
const TURNS_APART = 1;
/** A message of many records, or a loop that is late. */
const TURNS_TOGETHER = 50;
const AUDITS = 20;
/** For the kernel to free what was removed before, of which an agent has none. */
const FREED_MS = 1_000;
const node = `n${'a'.repeat(25)}` as NodeId;
const log = createLog('warn');

/** Records that are told one by one, as gossip does. */
class Records {
  readonly held = new Map<string, GossipRecord>();
  #listener: (changes: readonly GossipRecord[]) => void = () => undefined;

  put(key: string, value: RecordValue): void {
    const record = { key, version: { epoch: 1, sequence: 1 }, value };
    this.held.set(key, record);
    this.#listener([record]);
  }

  records(): Iterable<GossipRecord> {
    return this.held.values();
  }

  subscribe(_prefix: string, listener: (changes: readonly GossipRecord[]) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  subscribeMembers(): () => void {
    return () => undefined;
  }

  isReachable(): boolean {
    return true;
  }
}

/** One of an app's ten tasks, with a VIP on each of `ports`. */
function task(vip: string, ports: readonly number[], backend: number, healthy = true): RecordValue {
  const id = `${vip}-${backend}`;
  return {
    ...{ id, app: `/${vip}`, version: 'v', framework: 'marathon', name: vip, runtime: 'mesos' },
    ...{ state: 'TASK_RUNNING', checked: true, healthy, staged_at: 's', status_at: 's' },
    networks: [{ mode: 'container', name: 'dcos', addresses: [`9.0.2.${11 + backend}`] }],
    ports: ports.map((port) => ({
      protocol: 'tcp',
      container_port: port,
      labels: { VIP_0: `${vip}-${port}:${port}` },
    })),
  };
}

/** The longest that timers have to wait from now on. The function ends it: who merely waits shall not wake up. */
function watchLoop(): () => number {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    return longest;
  };
}

async function main(): Promise<void> {
  const kernel = await openKernel({ log });
  let vips: Vips | undefined;
  let exchange = new Records();

  const put = (vip: string, ports: readonly number[], backend: number, healthy = true): void =>
    exchange.put(`node/${node}/task/${vip}-${backend}`, task(vip, ports, backend, healthy));

  const load = async (count: number): Promise<object> => {
    await vips?.close();
    await kernel.nft.remove(VIP_TABLE);
    exchange = new Records();
    exchange.put(`node/${node}/node`, {
      ...{ name: 'bench', address: '9.0.2.1', gossip_port: 1, api_port: 2, role: 'agent' },
    });
    for (let backend = 0; backend < BACKENDS; backend++) {
      // Most apps have several ports; those that are changed have one.
      for (let i = 0; i < SINGLE; i++) put(`single${i}`, [80], backend);
      for (let i = 0; i < (count - SINGLE) / PORTS.length; i++) put(`app${i}`, PORTS, backend);
      put('called', [8080], backend);
      put('bulk', [5201], backend);
    }
    const records = new RecordView({ exchange, log }, { onChange: () => undefined });
    vips = new Vips(
      { kernel, journal: memoryJournal(), clock: realClock, log, metrics: createMetrics(), records },
      {
        node: 'nbench' as NodeId,
        config: agentConfig.parse({}).vips,
        surroundings: () => ({ overlays: [prefix('9.0.0.0/16')], reserved: [] }),
        onRoutes: () => undefined,
      },
    );
    const begun = performance.now();
    await vips.start();
    const loadedMs = performance.now() - begun;
    // The first round, which is waiting, and those who asked for it.
    await vips.settle();
    const wholeMs = performance.now() - begun;
    // Compiled already: rules and all elements into a kernel that has none.
    await kernel.nft.remove(VIP_TABLE);
    const held = watchLoop();
    const again = performance.now();
    await vips.settle();
    const coldMs = performance.now() - again;
    const names = vips.view.names();
    const address = (name: string): string => String(names.get(`${name}.marathon`)?.[0]);
    return {
      loadedMs,
      wholeMs,
      coldMs,
      heldMs: held(),
      called: address('called-8080'),
      bulk: address('bulk-5201'),
    };
  };

  let fastPath: FastPath | undefined;
  const reach = async (ports: readonly ContainerPort[]): Promise<object> => {
    await kernel.writeSysctl(LIBERAL_SYSCTL, '1');
    fastPath ??= FastPath.open();
    fastPath.set({ ports, entries: [] });
    return { ...fastPath.counts() };
  };

  const measure = async (): Promise<object> => {
    const audits: number[] = [];
    await sleep(FREED_MS);
    const held = watchLoop();
    for (let i = 0; i < AUDITS; i++) {
      const begun = performance.now();
      await vips?.settle();
      audits.push(performance.now() - begun);
    }
    const auditHeldMs = held();
    // An agent has compiled its code by the time it is of age; the first thousand changes of a process are not like that.
    await change(TURNS_APART);
    const [apart, together] = [await change(TURNS_APART), await change(TURNS_TOGETHER)];
    return {
      auditMs: percentile(audits, 0.5),
      auditHeldMs,
      changeP50: percentile(apart, 0.5),
      changeP99: percentile(apart, 0.99),
      togetherP99: percentile(together, 0.99),
    };
  };

  /** How long each change took; `perTurn` of them between two turns of the event loop. */
  const change = async (perTurn: number): Promise<readonly number[]> => {
    const changes: number[] = [];
    for (let i = 0; i < CHANGES; i++) {
      const begun = performance.now();
      put(
        `single${i % SINGLE}`,
        [80],
        Math.floor(i / SINGLE) % BACKENDS,
        i % (2 * SINGLE * BACKENDS) >= SINGLE * BACKENDS,
      );
      await vips?.written();
      changes.push(performance.now() - begun);
      if (i % perTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return changes;
  };

  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line) as { readonly load?: number; readonly ports?: readonly ContainerPort[] };
    const told = command.ports === undefined ? undefined : await reach(command.ports);
    const answer = told ?? (command.load === undefined ? await measure() : await load(command.load));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  fastPath?.close();
  await vips?.close();
  kernel.close();
}

await main();
