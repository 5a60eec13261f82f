/**
 * The registry: nodes, their grants, and the overlays they are taken from.
 *
 * Purpose: joins the ledger (decides), the commit queue (makes durable) and the record exchange (tells the cluster).
 * Invariants: nothing is answered before it is durable; concurrent requests share commits; after a failed commit
 * memory is thrown away and read from the store again, and until then every request is told to come back.
 * Review notes: the only state that is not in the store is what agents report of their overlays, and it is reported
 * again after every start, since agents register again when `instance` changes.
 */
import type { Clock } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { renderOverlays } from '../ipam/grant.ts';
import type { ClusterId, NodeId } from '../model/names.ts';
import type { NetworkConfig, OverlayInfo, OverlayState } from '../model/overlay.ts';
import { validateNetwork, type HostNetwork } from '../model/network-validation.ts';
import type {
  AgentRegistered,
  AgentRegisteredAcknowledgement,
  RegisterAgent,
  UpdateAgentOverlays,
} from '../model/registration.ts';
import type { Store, StoreOperation } from '../store/types.ts';
import { CommitQueue } from './commits.ts';
import { chooseContacts } from './contacts.ts';
import { Ledger, type LedgerContent, type Registration } from './ledger.ts';
import type { MasterMetrics } from './metrics.ts';
import { publishKept, publishRemoval, type ClusterPublisher } from './publisher.ts';
import { recover, type Recovered } from './recovery.ts';
import {
  fromFile,
  noSuchOverlay,
  notRegistered,
  recovering,
  stillHeld,
  wasRemoved,
  wrongCluster,
} from './refusals.ts';
import { storeKeys, type NodeEntry } from './stored.ts';

export interface RegistryComponents {
  readonly store: Store;
  readonly exchange: ClusterPublisher;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: MasterMetrics;
}

export interface RegistryInit {
  readonly cluster: ClusterId;
  /** The `network` section of the configuration file. */
  readonly network: NetworkConfig;
  readonly hostNetworks: readonly HostNetwork[];
  /** `host:port` of every master's API. */
  readonly masters: readonly string[];
  /** `host:port` of this master's record exchange; absent where it has none to offer. */
  readonly contact?: string;
}

/** Everything that a recovery replaces at once. */
interface Live {
  readonly ledger: Ledger;
  readonly commits: CommitQueue;
  readonly added: readonly OverlayInfo[];
}

const RECOVERY_DELAY_MS = 1000;
const MAX_ERROR_LENGTH = 1000;

export class Registry {
  readonly #components: RegistryComponents;
  readonly #init: RegistryInit;
  readonly #run: string;
  #networkGeneration = 0;
  #live: Live | undefined;
  /** What agents said of their overlays, by node, then overlay. */
  readonly #states = new Map<NodeId, ReadonlyMap<string, OverlayState>>();
  #closed = false;

  /** Rejects when the stored grants do not fit the configuration, or the store is damaged. */
  static async open(components: RegistryComponents, init: RegistryInit): Promise<Registry> {
    const registry = new Registry(components, init);
    const recovered = await recover(components.store);
    registry.#adopt(recovered);
    await registry.#publishAll(recovered);
    return registry;
  }

  private constructor(components: RegistryComponents, init: RegistryInit) {
    this.#components = components;
    this.#init = init;
    this.#run = Buffer.from(components.random.bytes(9)).toString('base64url');
  }

  close(): void {
    this.#closed = true;
    this.#live = undefined;
  }

  get cluster(): ClusterId {
    return this.#init.cluster;
  }

  /** Changes with every start and whenever grants may: agents that see another one register again. */
  get instance(): string {
    return `${this.#run}-${this.#networkGeneration}`;
  }

  get masters(): readonly string[] {
    return this.#init.masters;
  }

  get recovering(): boolean {
    return this.#live === undefined;
  }

  /** The network with the overlays that were added through the API. */
  get network(): NetworkConfig {
    return networkWith(this.#init.network, this.#ready().added);
  }

  /** Present nodes and pool; throws 'unavailable' while recovering. */
  get ledger(): Ledger {
    return this.#ready().ledger;
  }

  isConfigured(overlay: string): boolean {
    return this.#init.network.overlays.some(({ name }) => name === overlay);
  }

  states(node: NodeId): ReadonlyMap<string, OverlayState> {
    return this.#states.get(node) ?? new Map();
  }

  /** Resolves when everything decided so far is durable: before anything is shown. */
  async settled(): Promise<void> {
    await this.#ready().commits.commit([]);
  }

  /** Messages 1 to 3 of the protocol. */
  async register(message: RegisterAgent): Promise<UpdateAgentOverlays> {
    const { metrics } = this.#components;
    metrics.count('internal/register_agent_messages_received');
    try {
      const { ledger, commits } = this.#ready();
      this.#admit(ledger, message);
      const registration = this.#decide(ledger, message);
      await commits.commit(registration.operations);
      metrics.count('internal/update_agent_overlays_messages_sent');
      return this.#update(ledger, registration.entry);
    } catch (error) {
      metrics.count('internal/register_agent_messages_dropped');
      throw error;
    } finally {
      this.#gauge();
    }
  }

  #admit(ledger: Ledger, message: RegisterAgent): void {
    if (message.cluster !== undefined && message.cluster !== this.cluster)
      throw wrongCluster(message.cluster, this.cluster);
    const removal = ledger.removal(message.node);
    if (removal !== undefined) throw wasRemoved(removal);
  }

  #decide(ledger: Ledger, message: RegisterAgent): Registration {
    const { metrics, log } = this.#components;
    try {
      const registration = ledger.register(message);
      for (const { family, overlay } of registration.shortages) {
        metrics.count(family === 4 ? 'subnet_allocation_failures' : 'subnet6_allocation_failures');
        log.error('An overlay has no block left for a node', { node: message.node, overlay, family });
      }
      return registration;
    } catch (error) {
      if (error instanceof PortolanError && error.code === 'exhausted') {
        const six = error.field === 'network.vtep_subnet6';
        metrics.count(six ? 'ip6_allocation_failures' : 'ip_allocation_failures');
        log.error('No VTEP address is left for a node', { node: message.node, name: message.name });
      }
      throw error;
    }
  }

  #update(ledger: Ledger, entry: NodeEntry): UpdateAgentOverlays {
    const { contact } = this.#init;
    const own = contact === undefined ? [] : [contact];
    return {
      cluster: this.cluster,
      master: this.instance,
      grant_epoch: entry.grant_epoch,
      overlays: [...renderOverlays(ledger.pool.network, entry.grant)],
      contacts: [...chooseContacts(this.#components.random, entry.node, own, ledger.content().nodes)],
    };
  }

  /** Messages 4 and 5. What agents report lives in memory only. */
  registered(message: AgentRegistered): AgentRegisteredAcknowledgement {
    const { metrics } = this.#components;
    metrics.count('internal/agent_registered_messages_received');
    try {
      const { ledger } = this.#ready();
      const removal = ledger.removal(message.node);
      if (removal !== undefined) throw wasRemoved(removal);
      if (ledger.node(message.node) === undefined) throw notRegistered(message.node);
      this.#states.set(message.node, reportedStates(message));
    } catch (error) {
      metrics.count('internal/agent_registered_messages_dropped');
      throw error;
    }
    metrics.count('internal/agent_registered_acknowledgements_sent');
    return { master: this.instance };
  }

  /** Takes the nodes' blocks back; ids that are unknown or given twice are ignored. */
  async remove(ids: readonly NodeId[]): Promise<void> {
    const { ledger, commits } = this.#ready();
    const removals = ids.flatMap((id) => ledger.remove(id) ?? []);
    const revision = await commits.commit(removals.flatMap(({ operations }) => operations));
    for (const { removal } of removals) {
      this.#states.delete(removal.node);
      this.#components.log.info('Removed a node', { ...removal });
      await publishRemoval(this.#components, removal, revision);
    }
    this.#gauge();
  }

  /** Adds an overlay for every node, with all checks of the configuration file. */
  async addOverlay(info: OverlayInfo): Promise<void> {
    const { added } = this.#ready();
    const operation: StoreOperation = {
      do: 'put',
      key: storeKeys.overlay(info.name),
      value: JSON.stringify(info),
    };
    await this.#changeOverlays([...added, info], operation, info);
    this.#components.log.info('Added an overlay', { overlay: info.name });
  }

  /** Refuses while a node holds a block of it: its containers would lose their network. */
  async removeOverlay(name: string): Promise<void> {
    const { added, ledger } = this.#ready();
    if (this.isConfigured(name)) throw fromFile(name);
    const info = added.find((each) => each.name === name);
    if (info === undefined) throw noSuchOverlay(name);
    const { held } = ledger.pool.usage(name);
    if (held > 0) throw stillHeld(name, held);
    const others = added.filter((each) => each.name !== name);
    await this.#changeOverlays(others, { do: 'delete', key: storeKeys.overlay(name) }, info);
    this.#components.log.info('Removed an overlay', { overlay: name });
  }

  async #changeOverlays(
    added: readonly OverlayInfo[],
    operation: StoreOperation,
    changed: OverlayInfo,
  ): Promise<void> {
    const { ledger, commits } = this.#ready();
    const network = networkWith(this.#init.network, added);
    const space = validateNetwork(network, this.#init.hostNetworks);
    const next = new Ledger(space, withoutOverlays(ledger.content(), network));
    this.#live = { ledger: next, commits, added };
    // One that is not enabled is in nobody's grant: to register again would tell no agent anything.
    if (changed.enabled) this.#networkGeneration += 1;
    await commits.commit([operation]);
    await publishKept(this.#components, 'network', network);
  }

  #ready(): Live {
    if (this.#live === undefined) throw recovering();
    return this.#live;
  }

  #adopt(recovered: Recovered): void {
    const network = networkWith(this.#init.network, recovered.added);
    const space = validateNetwork(network, this.#init.hostNetworks);
    const ledger = new Ledger(space, withoutOverlays(recovered.content, network));
    const commits = new CommitQueue(
      { store: this.#components.store },
      {
        epochRevision: recovered.epochRevision,
        epoch: () => this.#live?.ledger.epoch ?? ledger.epoch,
        onFailure: (error) => this.#demote(error),
      },
    );
    this.#live = { ledger, commits, added: recovered.added };
    this.#gauge();
  }

  async #publishAll(recovered: Recovered): Promise<void> {
    await publishKept(this.#components, 'network', this.network);
    await publishKept(this.#components, 'masters', { masters: this.#init.masters });
    for (const removal of recovered.content.removed) {
      const revision = recovered.removedRevisions.get(removal.node) ?? 0;
      await publishRemoval(this.#components, removal, revision);
    }
  }

  /** Memory may be ahead of the store now: forget it and read again. */
  #demote(error: unknown): void {
    const { log, metrics } = this.#components;
    this.#live = undefined;
    metrics.recovering.set(1);
    if (this.#closed) return;
    log.error('A commit failed; recovering from the store', { error });
    metrics.count('process_restarts');
    void this.#recoverAgain();
  }

  async #recoverAgain(): Promise<void> {
    const { store, log, clock } = this.#components;
    try {
      const recovered = await recover(store);
      if (this.#closed) return;
      this.#adopt(recovered);
      log.info('Recovered from the store', { nodes: this.ledger.size });
    } catch (error) {
      if (this.#closed) return;
      log.error('Cannot recover from the store; trying again', { error });
      clock.after(RECOVERY_DELAY_MS, () => void this.#recoverAgain());
    }
  }

  #gauge(): void {
    const { metrics } = this.#components;
    metrics.recovering.set(this.recovering ? 1 : 0);
    if (this.#live !== undefined) metrics.nodes.set(this.#live.ledger.size);
  }
}

function networkWith(network: NetworkConfig, added: readonly OverlayInfo[]): NetworkConfig {
  return { ...network, overlays: [...network.overlays, ...added] };
}

/** Mere gateways to an overlay that is gone hold nothing of it: they are rid of it silently. */
function withoutOverlays(content: LedgerContent, network: NetworkConfig): LedgerContent {
  const names = new Set(network.overlays.map(({ name }) => name));
  const nodes = content.nodes.map((entry) => {
    const overlays = entry.grant.overlays.filter(
      ({ overlay, subnet, subnet6 }) => names.has(overlay) || subnet !== undefined || subnet6 !== undefined,
    );
    return overlays.length === entry.grant.overlays.length
      ? entry
      : { ...entry, grant: { ...entry.grant, overlays } };
  });
  return { ...content, nodes };
}

function reportedStates(message: AgentRegistered): ReadonlyMap<string, OverlayState> {
  return new Map(
    message.overlays.map(({ info, state }) => [
      info.name,
      {
        status: state?.status ?? 'STATUS_INVALID',
        ...(state?.error === undefined ? {} : { error: state.error.slice(0, MAX_ERROR_LENGTH) }),
      },
    ]),
  );
}
