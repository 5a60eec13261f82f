/**
 * One life of an agent under one identity: everything between reading the journal and the last goodbye.
 *
 * Purpose: wires membership, data plane, Docker, CNI, registration and APIs; has no rules of its own.
 * Invariants: nothing is written to the kernel before the grant, the records and the attachments on disk are loaded;
 * whatever was opened is closed again in reverse, also when a later step fails; closing changes nothing in the kernel.
 * Review notes: none of this waits for a master. A new part opens in `open`, in the order of what needs what.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { describeError, PortolanError } from '../base/errors.ts';
import { parseTarget } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import type { NodeId } from '../model/names.ts';
import { LEAVE_PATH } from '../model/trust.ts';
import type { Kernel, KernelEvent } from '../kernel/types.ts';
import type { Udp } from '../kernel/udp/types.ts';
import type { AgentConfig } from '../model/config.ts';
import { LOCAL_BRIDGE, type AgentOverlay } from '../model/overlay.ts';
import type { NodeRecord } from '../model/record.ts';
import type { UpdateAgentOverlays } from '../model/registration.ts';
import { openDocker } from '../runtime/docker.ts';
import type { Journal } from '../store/types.ts';
import { Announcer } from './announcer.ts';
import { AppliedKeeper } from './applied.ts';
import { syncConflists } from './cni-config.ts';
import { openDns, type Dns } from './dns.ts';
import { Departure } from './departure.ts';
import { openDataplane, type Dataplane } from './dataplane.ts';
import { createDockerNetworks, type DockerNetworks } from './docker-network.ts';
import { GrantWatch } from './grant-watch.ts';
import { openMembership, type Membership } from './membership.ts';
import { createPublisher } from './publisher.ts';
import { ReachTeller } from './reach-teller.ts';
import { createRegistration, type Registration } from './registration.ts';
import { serveAgent } from './serve.ts';
import type { Tasks } from './tasks/tasks.ts';
import type { CertificateTimes, NodeTrust } from './trust.ts';
import { vipSurroundings } from './vip-surroundings.ts';
import { Vips } from './vips.ts';

const LEAVE_TIMEOUT_MS = 10_000;

export interface SessionComponents {
  readonly kernel: Kernel;
  readonly udp: Udp;
  readonly trust: NodeTrust;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface SessionInit {
  readonly config: AgentConfig;
  /** The cluster has removed this node. */
  onRemoved(): void;
}

export interface Session {
  /** Gives up grant and containers' addresses: this identity has no place in the cluster any more. */
  forget(): Promise<void>;
  close(): Promise<void>;
}

export type OnClose = (closer: () => void | Promise<void>) => void;

/** What the edges show and use. */
export interface Parts extends Membership, Dataplane {
  readonly vips: Vips;
  readonly docker: DockerNetworks | undefined;
  readonly registration: Registration;
  readonly appliedKeeper: AppliedKeeper;
  /** `host:port`, as known now. */
  masters(): readonly string[];
  readonly dns: Dns;
  /** When this node's certificate ends. Wall time, ms. */
  readonly certificateTimes: () => CertificateTimes;
  readonly announcer: Announcer;
  /** Has the masters remove this node; resolves when that is committed. */
  readonly leave: () => Promise<{ readonly node: NodeId }>;
}

export async function openSession(components: SessionComponents, init: SessionInit): Promise<Session> {
  const closers: (() => void | Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const parts = await open(components, init, (closer) => closers.push(closer));
    return { close, forget: () => forget(parts) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What is opened after those who tell it of changes. */
interface Later {
  parts?: Parts;
  announcer?: Announcer;
  grantWatch?: GrantWatch;
}

async function open(
  components: SessionComponents,
  given: SessionInit,
  onClose: OnClose,
): Promise<Parts & { readonly tasks: Tasks }> {
  const { log } = components;
  const departure = new Departure(components, given);
  const init: SessionInit = { ...given, onRemoved: departure.removed };
  const { config } = init;
  const later: Later = {};
  const membership = await openMembership(
    components,
    {
      config,
      onRecords: () => {
        if (membership.records.removed().has(membership.node)) init.onRemoved();
        else later.parts?.refresh('records changed');
        later.parts?.vips.refresh();
      },
      onUnderlay: () => followUnderlay(later),
    },
    onClose,
  );
  const dataplane = await openDataplane(components, membership, {
    config,
    docker: () => later.parts?.docker?.status().networks ?? [],
    vips: () => later.parts?.vips.routes() ?? [],
    onAttachments: () => later.announcer?.attachmentsSoon(),
    onForeignEvent: (event) => tellForeignEvent(event, membership, later),
    onRound: (report) => later.parts?.appliedKeeper.roundEnded(report),
  });
  onClose(() => dataplane.fastPaths.close());
  const dns = openDns(components, config, membership, onClose);
  const announcer = openAnnouncer(components, config, membership, dataplane);
  onClose(() => announcer.close());
  const docker = config.docker.enabled
    ? openDockerNetworks(components, config, dataplane, announcer)
    : undefined;
  const vips = openVips(components, config, membership, dataplane);
  onClose(() => vips.close());
  await answerNames(dns, vips);
  const bringAbout = async (): Promise<readonly AgentOverlay[]> => {
    dataplane.refresh('grant');
    await dataplane.reconciler.settle();
    vips.refresh();
    docker?.trigger();
    await syncConflists({ log }, { directory: config.cni_dir, overlays: dataplane.states.cniNetworks() });
    await announcer.place();
    return dataplane.states.overlays();
  };
  const registration = openRegistration(
    components,
    init,
    { ...membership, ...dataplane },
    {
      bringAbout,
      onConfirmed: () => later.grantWatch?.confirmed(),
    },
  );
  const grantWatch = openGrantWatch(components, { ...membership, registration }, later, onClose);
  const parts: Parts = {
    ...membership,
    ...dataplane,
    vips,
    docker,
    dns,
    registration,
    appliedKeeper: openAppliedKeeper(components, membership, dataplane, grantWatch),
    masters: () => knownMasters(components, config, membership),
    announcer,
    leave: () => departure.leave(() => leaveCluster(components, config, membership)),
    certificateTimes: () => components.trust.certificateTimes(),
  };
  Object.assign(later, { grantWatch, parts, announcer } satisfies Later);
  const tasks = await begin(components, config, parts, bringAbout, onClose);
  keepCertified(components, parts);
  announcer.attachmentsSoon();
  // As known from the disk, of which nobody tells.
  if (membership.records.removed().has(membership.node)) init.onRemoved();
  return { ...parts, tasks };
}

function tellForeignEvent(event: KernelEvent, { underlay }: Membership, { parts }: Later): void {
  underlay.onEvent(event);
  parts?.vips.onForeignEvent(event);
  // Docker, or whoever flushed its chains, may have closed the way for the overlays.
  if (event.object === 'nft' || event.object === 'overrun') parts?.docker?.trigger();
}

function followUnderlay({ parts, announcer }: Later): void {
  parts?.refresh('the underlay changed');
  parts?.vips.refresh();
  announcer?.placeSoon();
  void parts?.attachments.fitMtus();
}

/** Before the kernel has its turn: containers run, and ask. */
async function answerNames(dns: Dns, vips: Vips): Promise<void> {
  dns.names.follow(vips.view);
  await vips.load();
  await dns.start();
}

/** Everything is wired: the kernel first, then whoever may ask for something. */
async function begin(
  components: SessionComponents,
  config: AgentConfig,
  parts: Parts,
  bringAbout: () => Promise<readonly AgentOverlay[]>,
  onClose: OnClose,
): Promise<Tasks> {
  await parts.reconciler.start();
  onClose(() => parts.reconciler.stop());
  tellOthers(components, parts, onClose);
  if (parts.grants.current() !== undefined) {
    const overlays = await bringAbout();
    components.log.info('Living on the stored grant', {
      overlays: overlays.map((overlay) => overlay.info.name),
    });
  }
  await parts.vips.start();
  await parts.attachments.recover();
  await parts.attachments.fitMtus();
  parts.attachments.start();
  parts.fastPaths.refresh();
  onClose(() => parts.attachments.close());
  parts.docker?.start();
  onClose(() => parts.docker?.stop());
  const tasks = await serveAgent(components, config, parts, onClose);
  parts.registration.start();
  onClose(() => parts.registration.stop());
  return tasks;
}

function openGrantWatch(
  { clock }: SessionComponents,
  { exchange, grants, records, registration }: Membership & Pick<Parts, 'registration'>,
  later: Later,
  onClose: OnClose,
): GrantWatch {
  const watch = new GrantWatch(
    { clock, exchange },
    {
      ...{ registration, grant: () => grants.current(), nodes: () => records.nodeCount() },
      onCurrent: () => later.parts?.appliedKeeper.look(),
    },
  );
  onClose(() => watch.close());
  return watch;
}

/** Until the grant is of the network that the masters tell of, nothing that their change asks for can be in the kernel. */
function openAppliedKeeper(
  components: SessionComponents,
  { exchange, node, records }: Membership,
  { reconciler }: Dataplane,
  grantWatch: GrantWatch,
): AppliedKeeper {
  const notYet = { done: false, failures: [], faults: [] };
  const settle = async () => (grantWatch.isCurrent() ? reconciler.confirm() : notYet);
  return new AppliedKeeper({ ...components, exchange }, { node, settle, nodes: () => records.nodeCount() });
}

/** For operators and callers: what is applied here, and whom this agent cannot reach. */
function tellOthers(
  components: SessionComponents,
  { appliedKeeper, exchange, node }: Parts,
  onClose: OnClose,
): void {
  appliedKeeper.start();
  onClose(() => appliedKeeper.close());
  const teller = new ReachTeller({ ...components, exchange }, { node });
  onClose(() => teller.close());
}

function openAnnouncer(
  components: SessionComponents,
  config: AgentConfig,
  membership: Membership,
  dataplane: Dataplane,
): Announcer {
  const { clock, log } = components;
  const { exchange, node, name, underlay, grants, records } = membership;
  const publisher = createPublisher({ exchange }, { node });
  return new Announcer(
    { publisher, clock, log },
    {
      nodeRecord: (): NodeRecord => ({
        name,
        address: underlay.current().address.toString(),
        gossip_port: config.gossip_port,
        api_port: config.http_port,
        role: 'agent',
      }),
      overlays: () => dataplane.states.usable(),
      grantEpoch: () => grants.current()?.epoch,
      // Nobody else can reach what is on the node-local bridge.
      attachments: () => dataplane.attachments.list().filter(({ network }) => network !== LOCAL_BRIDGE),
      attachmentsUnderWay: () => dataplane.attachments.busy,
      removed: () => records.removed().has(node),
    },
  );
}

function openVips(
  components: SessionComponents,
  config: AgentConfig,
  membership: Membership,
  dataplane: Dataplane,
): Vips {
  return new Vips(
    { ...components, log: components.log.child('vips'), records: membership.records },
    {
      node: membership.node,
      config: config.vips,
      surroundings: vipSurroundings(membership),
      onRoutes: () => dataplane.refresh('virtual addresses changed'),
    },
  );
}

function openDockerNetworks(
  components: SessionComponents,
  config: AgentConfig,
  dataplane: Dataplane,
  announcer: Announcer,
): DockerNetworks {
  const { kernel, clock, log, metrics } = components;
  return createDockerNetworks(
    { docker: openDocker, kernel, clock, log: log.child('docker'), metrics },
    {
      socket: config.docker.socket,
      networks: () => dataplane.states.dockerWishes(),
      attached: () => dataplane.attachments.list(),
      onEndpoints: (endpoints) => announcer.dockerEndpoints(endpoints),
    },
  );
}

function openRegistration(
  components: SessionComponents,
  init: SessionInit,
  parts: Membership & Pick<Dataplane, 'states'>,
  {
    bringAbout,
    onConfirmed,
  }: {
    readonly bringAbout: () => Promise<readonly AgentOverlay[]>;
    readonly onConfirmed: () => void;
  },
): Registration {
  const { clock, random, log, metrics, trust } = components;
  const { config } = init;
  const { node, name, grants, underlay, exchange, states } = parts;
  const configure = async (
    update: UpdateAgentOverlays,
    changed: readonly string[],
  ): Promise<readonly AgentOverlay[]> => {
    const isNews = await grants.take(update);
    exchange.addContacts(update.contacts);
    return isNews || changed.length > 0 ? bringAbout() : states.overlays();
  };
  const cluster = (): object => (grants.cluster() === undefined ? {} : { cluster: grants.cluster() });
  return createRegistration(
    { clock, random, log: log.child('registration'), metrics, request: trust.request },
    {
      masters: () => knownMasters(components, config, parts),
      registration: () => ({
        node,
        ...cluster(),
        name,
        address: underlay.current().address.toString(),
        gossip_port: config.gossip_port,
        api_port: config.http_port,
        network_config: config.network_config,
      }),
      maxConfigurationAttempts: config.max_configuration_attempts,
      configure,
      onConfirmed,
      onRemoved: () => Promise.resolve(init.onRemoved()),
    },
  );
}

/** The certificate stays young, and others are shown the newest. */
function keepCertified({ trust, log }: SessionComponents, { masters, exchange }: Parts): void {
  trust.startRenewal(masters, () => {
    exchange.introduce().catch((error: unknown) => {
      log.error('Cannot show the renewed certificate', { error: describeError(error) });
    });
  });
}

/** Configured ones first; those that records tell of, so that a new master is found; those of the last certificate. */
function knownMasters(
  { trust }: SessionComponents,
  config: AgentConfig,
  { records }: Membership,
): readonly string[] {
  return [...new Set([...config.masters, ...records.masters(), ...trust.masters()])];
}

/** Asks the masters in turn. */
async function leaveCluster(
  components: SessionComponents,
  config: AgentConfig,
  membership: Membership,
): Promise<{ node: NodeId }> {
  const { node } = membership;
  let failure: unknown = new PortolanError('unavailable', 'Cannot leave: no master is known');
  for (const master of knownMasters(components, config, membership))
    try {
      const init = { method: 'POST', path: LEAVE_PATH, body: {}, timeoutMs: LEAVE_TIMEOUT_MS } as const;
      answered(await components.trust.request(parseTarget(master), init));
      return { node };
    } catch (error) {
      failure = error;
    }
  throw failure as Error;
}

async function forget(parts: Parts & { readonly tasks: Tasks }): Promise<void> {
  await parts.tasks.forgetAll();
  await parts.grants.drop();
  await parts.attachments.forgetAll();
  await parts.vips.remove();
}
