/** A master's place in the record exchange: it writes `cluster/...` records and keeps what nodes tell. */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { openExchange } from '../node/exchange.ts';
import { openIdentity } from '../node/identity.ts';
import type { PeerTransport } from '../peer/types.ts';
import type { Credentials } from '../trust/credentials.ts';
import { openJournal } from '../store/journal.ts';
import type { MasterComponents } from './master.ts';

export interface MasterExchangeComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly openTransport: (credentials: () => Credentials) => PeerTransport;
}

/** The `openExchange` of `startMaster`, with identity and records in the journal at `path`. */
export function openMasterExchange(
  components: MasterExchangeComponents,
  init: { readonly path: string },
): MasterComponents['openExchange'] {
  return async ({ cluster, address, port, credentialsOf, authenticator }) => {
    const journal = await openJournal(components, {
      path: init.path,
      what: "the master's copy of the cluster's records",
      recovery: 'start again: agents and the store tell everything anew',
    });
    try {
      const node = await openIdentity({ journal, random: components.random });
      const credentials = credentialsOf(node);
      const exchange = await openExchange(
        { ...components, journal, authenticator, transport: components.openTransport(credentials) },
        { cluster, node, listen: { host: address ?? '0.0.0.0', port }, contacts: [] },
      );
      return {
        credentials,
        publishCluster: exchange.publishCluster.bind(exchange),
        addContacts: exchange.addContacts.bind(exchange),
        get: exchange.get.bind(exchange),
        records: exchange.records.bind(exchange),
        subscribe: exchange.subscribe.bind(exchange),
        members: exchange.members.bind(exchange),
        isReachable: exchange.isReachable.bind(exchange),
        subscribeMembers: exchange.subscribeMembers.bind(exchange),
        peers: exchange.peers.bind(exchange),
        stats: exchange.stats.bind(exchange),
        close: async () => {
          await exchange.close();
          await journal.close();
        },
      };
    } catch (error) {
      await journal.close();
      throw error;
    }
  };
}
