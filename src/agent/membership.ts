/**
 * Who this node is and what it knows of the others: identity, grant, underlay, records.
 */
import { hostname } from 'node:os';
import type { AgentConfig } from '../model/config.ts';
import type { NodeId } from '../model/names.ts';
import { AppliedView } from '../node/applied-view.ts';
import { openExchange } from '../node/exchange.ts';
import type { RecordExchange } from '../node/record-exchange.ts';
import { openIdentity } from '../node/identity.ts';
import { readMemberMetrics } from '../node/member-metrics.ts';
import { RecordView } from '../node/record-view.ts';
import { GrantKeeper } from './grant-keeper.ts';
import type { OnClose, SessionComponents } from './session.ts';
import { listenHost, watchUnderlay, type UnderlayWatch } from './underlay.ts';

export interface Membership {
  readonly node: NodeId;
  readonly name: string;
  readonly grants: GrantKeeper;
  readonly underlay: UnderlayWatch;
  readonly exchange: RecordExchange;
  readonly records: RecordView;
  readonly applied: AppliedView;
}

export interface MembershipInit {
  readonly config: AgentConfig;
  /** Records that matter to the kernel have changed. */
  onRecords(): void;
  /** This host's address, link or MTU has changed. */
  onUnderlay(): void;
}

export async function openMembership(
  components: SessionComponents,
  init: MembershipInit,
  onClose: OnClose,
): Promise<Membership> {
  const { kernel, journal, clock, random, log, metrics, trust } = components;
  const { config } = init;
  const node = await openIdentity({ journal, random });
  const grants = new GrantKeeper({ journal });
  const later: { exchange?: RecordExchange } = {};
  const underlay = await watchUnderlay(
    { kernel, clock, log },
    {
      address: config.address,
      masters: [...config.masters, ...trust.masters()],
      onChange: ({ moved }) => {
        if (moved) later.exchange?.redial();
        init.onUnderlay();
      },
    },
  );
  onClose(() => underlay.close());
  const exchange = await openExchange(
    {
      ...{ clock, random, log: log.child('exchange'), metrics, journal },
      ...{ transport: trust.transport, authenticator: trust.records },
    },
    {
      cluster: () => grants.cluster(),
      node,
      listen: { host: listenHost(config.address, underlay.current()), port: config.gossip_port },
      contacts: grants.contacts(),
    },
  );
  later.exchange = exchange;
  onClose(() => exchange.close());
  const records = new RecordView({ exchange, log }, { onChange: () => init.onRecords() });
  onClose(() => records.close());
  const applied = new AppliedView({ exchange, clock, metrics });
  onClose(() => applied.close());
  readMemberMetrics({ metrics, exchange, applied });
  return { node, name: config.name ?? hostname(), grants, underlay, exchange, records, applied };
}
