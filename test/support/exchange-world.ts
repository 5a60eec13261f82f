/** Nodes with a record exchange each, on one network in memory, under one manual clock. */
import { ManualClock } from '../../src/base/clock.ts';
import { memoryLog, type LogLine } from '../../src/base/log.ts';
import { createMetrics, type Metrics } from '../../src/base/metrics.ts';
import { seededRandom, type Random } from '../../src/base/random.ts';
import { newClusterId, newNodeId, type ClusterId, type NodeId } from '../../src/model/names.ts';
import { keys } from '../../src/model/record.ts';
import { openExchange, type ExchangeComponents, type ExchangeInit } from '../../src/node/exchange.ts';
import type { RecordExchange } from '../../src/node/record-exchange.ts';
import { MemoryNetwork } from '../../src/peer/memory.ts';
import { memoryJournal } from '../../src/store/memory-journal.ts';

export const PORT = 62_501;

export interface TestNode {
  readonly host: string;
  readonly node: NodeId;
  readonly disk: Map<string, string>;
  readonly lines: LogLine[];
  readonly metrics: Metrics;
  exchange: RecordExchange;
}

export class ExchangeWorld {
  readonly clock = new ManualClock();
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly cluster: ClusterId;
  readonly nodes: TestNode[] = [];

  constructor(seed = 1) {
    this.random = seededRandom(seed);
    this.network = new MemoryNetwork(this, { delayMs: 1 });
    this.cluster = newClusterId(this.random);
  }

  async add(init: Partial<ExchangeInit> = {}): Promise<TestNode> {
    const host = `10.0.${this.nodes.length >> 8}.${this.nodes.length & 255}`;
    const node = newNodeId(this.random);
    const base = { host, node, disk: new Map<string, string>(), lines: [], metrics: createMetrics() };
    const exchange = await this.open(base, init);
    const made: TestNode = { ...base, exchange };
    this.nodes.push(made);
    await exchange.publish(keys.node(node), nodeRecord(host));
    return made;
  }

  open(
    at: Omit<TestNode, 'exchange'>,
    init: Partial<ExchangeInit> = {},
    components: Partial<ExchangeComponents> = {},
  ): Promise<RecordExchange> {
    const { clock, random } = this;
    return openExchange(
      {
        clock,
        random,
        log: memoryLog(at.lines),
        metrics: at.metrics,
        transport: this.network.transport(at.host),
        journal: memoryJournal(at.disk),
        ...components,
      },
      {
        cluster: this.cluster,
        node: at.node,
        listen: { host: at.host, port: PORT },
        contacts: [`10.0.0.0:${PORT}`],
        ...init,
      },
    );
  }

  async addMany(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.add();
  }

  /** Lets time pass in steps, so that promises settle in between. */
  async run(ms: number, stepMs = 5): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advance(stepMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Time until `condition` holds. */
  async until(condition: () => boolean, limitMs: number, stepMs = 5): Promise<number> {
    const start = this.clock.nowMs();
    while (!condition()) {
      if (this.clock.nowMs() - start > limitMs) throw new Error(`not within ${limitMs} ms`);
      await this.run(stepMs, stepMs);
    }
    return this.clock.nowMs() - start;
  }

  areEqual(nodes: readonly TestNode[] = this.nodes): boolean {
    return new Set(nodes.map(({ exchange }) => exchange.digest().hash)).size === 1;
  }

  hosts(from: number, to: number): string[] {
    return this.nodes.slice(from, to).map(({ host }) => host);
  }

  async close(): Promise<void> {
    for (const { exchange } of this.nodes) await exchange.close();
  }
}

export function nodeRecord(host: string) {
  return { name: host, address: host, gossip_port: PORT, api_port: 5051, role: 'agent' };
}
