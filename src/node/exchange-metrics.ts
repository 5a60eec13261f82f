/** What the record exchange counts. */
import type { Metrics } from '../base/metrics.ts';
import type { GossipCore, GossipStatistics } from '../gossip/core.ts';

export interface ExchangeMetrics {
  sent(bytes: number): void;
  received(bytes: number): void;
  /** After every step. */
  update(core: GossipCore): void;
}

export function exchangeMetrics(metrics: Metrics): ExchangeMetrics {
  const messages = metrics.counter('portolan_gossip_messages_total', 'Messages exchanged with peers', [
    'direction',
  ]);
  const bytes = metrics.counter('portolan_gossip_bytes_total', 'Bytes exchanged with peers', ['direction']);
  const records = metrics.gauge('portolan_gossip_records', 'Records known, tombstones included');
  const peers = metrics.gauge('portolan_gossip_peers', 'Peers connected');
  const totals = {
    digestRounds: metrics.counter('portolan_gossip_digest_rounds_total', 'Comparisons opened with a peer'),
    repairs: metrics.counter('portolan_gossip_repairs_total', 'Records that a comparison brought'),
    refused: metrics.counter(
      'portolan_gossip_refused_total',
      'Records refused for their size, number or writer',
    ),
  };
  let seen: Pick<GossipStatistics, keyof typeof totals> = { digestRounds: 0, repairs: 0, refused: 0 };
  const count = (direction: string) => (size: number) => {
    messages.add(1, { direction });
    bytes.add(size, { direction });
  };
  return {
    sent: count('out'),
    received: count('in'),
    update: (core) => {
      records.set(core.store.size);
      peers.set(core.statistics.activePeers);
      const now = core.statistics;
      for (const name of ['digestRounds', 'repairs', 'refused'] as const)
        if (now[name] > seen[name]) totals[name].add(now[name] - seen[name]);
      seen = now;
    },
  };
}
