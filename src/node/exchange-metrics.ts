/** What the record exchange counts, as metrics: read when somebody asks, so that a frame costs nothing more. */
import type { Metrics } from '../base/metrics.ts';
import type { RecordExchange } from './record-exchange.ts';

export function readExchangeMetrics(
  metrics: Metrics,
  exchange: Pick<RecordExchange, 'stats' | 'digest'>,
): void {
  metrics.read(
    'counter',
    'portolan_gossip_messages_total',
    'Messages exchanged with peers',
    ['direction'],
    () => {
      const { messagesSent, messagesReceived } = exchange.stats();
      return byDirection(messagesSent, messagesReceived);
    },
  );
  metrics.read('counter', 'portolan_gossip_bytes_total', 'Bytes exchanged with peers', ['direction'], () => {
    const { bytesSent, bytesReceived } = exchange.stats();
    return byDirection(bytesSent, bytesReceived);
  });
  const read = (kind: 'counter' | 'gauge', name: string, help: string, value: () => number): void =>
    metrics.read(kind, `portolan_gossip_${name}`, help, [], () => [[{}, value()]]);
  read('gauge', 'records', 'Records known, tombstones included', () => exchange.digest().records);
  read('gauge', 'peers', 'Peers connected', () => exchange.stats().activePeers);
  read(
    'counter',
    'digest_rounds_total',
    'Comparisons opened with a peer',
    () => exchange.stats().digestRounds,
  );
  read('counter', 'repairs_total', 'Records that a comparison brought', () => exchange.stats().repairs);
  read(
    'counter',
    'refused_total',
    'Records refused for their size, number or writer',
    () => exchange.stats().refused,
  );
}

function byDirection(out: number, received: number) {
  return [
    [{ direction: 'out' }, out],
    [{ direction: 'in' }, received],
  ] as const;
}
