/**
 * Attachments: one interface of one container on one overlay, made and unmade for runtimes that speak CNI.
 *
 * Purpose: ADD, DEL, CHECK, STATUS and GC of the specification, without a helper process, on the agent's own journal.
 * Invariants: what is about to be made is on disk before an address of it is in any kernel, and what is being unmade
 * leaves the disk after the kernel; so after a crash at any point the runtime's DEL, its next ADD, or our own sweep
 * finds everything. The pair alone is made while the disk is still at work: it bears its mark, and an agent that starts
 * removes pairs that it does not know. An address returns to its pool last of all. Every step may be repeated.
 * One operation at a time for each container; different containers do not wait for one another.
 * Review notes: a new kernel object of an attachment needs its place in `#make` and `#undo`, its row in
 * docs/OWNERSHIP.md, its check in `findFaults` and its point in the fault-injection test.
 */
import type { IpAddress } from '../base/ip.ts';
import { RESOLVER_OPTIONS } from '../model/dns.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { describeError, isPortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import type { CniRequest } from '../cni/request.ts';
import { appendResult, emptyResult, type CniResult } from '../cni/result.ts';
import type { ApplyOptions, Kernel, NetworkNamespace } from '../kernel/types.ts';
import type { Endpoint, PortMapping } from '../model/endpoint.ts';
import type { Attachment } from '../overlay/desired.ts';
import type { Journal } from '../store/types.ts';
import { AttachmentsLedger } from './attachments-ledger.ts';
import { KeyedLock } from './attachments-lock.ts';
import { mtuFor, setMtu } from './attachments-mtu.ts';
import type { NetworkView } from './attachments-network.ts';
import { addPorts, missingPorts, refuseOccupiedPorts, removePorts } from './attachments-ports.ts';
import { disagreements, resultOf } from './attachments-plan.ts';
import { addressesOf, attachmentId, toDesired, type AttachmentRecord } from './attachments-record.ts';
import { outlives, removeUnknownPairs } from './attachments-recovery.ts';
import {
  defaultMetric,
  findFaults,
  missingRoutes,
  unwire,
  wireContainer,
  wireHost,
} from './attachments-wiring.ts';
import { nextTurn } from './slices.ts';

export const SWEEP_INTERVAL_MS = 30_000;
/** Sweeps in a row that must miss a namespace before its attachment is removed. */
const SWEEPS_BEFORE_REMOVAL = 2;
const BOOT_KEY = 'boot';

export interface AttachmentsComponents {
  readonly kernel: Kernel;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface AttachmentsInit {
  /** Of attachments-boot.ts. */
  readonly bootId: string;
  /** `undefined` = this host has no such overlay. */
  network(name: string): NetworkView | undefined;
  networks(): readonly string[];
  /** The DNS servers for a container with these addresses, where its network's configuration names none. */
  dnsServers(addresses: readonly IpAddress[]): readonly string[];
  /** What `desired` or `list` gives has changed; a round of the reconciler is not needed for it. */
  onChange(): void;
  /** Runs a round of the reconciler now and resolves when it has ended: makes a missing bridge or nft table. */
  settled(): Promise<void>;
}

export class Attachments {
  readonly #kernel: Kernel;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: AttachmentsInit;
  readonly #ledger: AttachmentsLedger;
  readonly #lock = new KeyedLock();
  /** How many sweeps in a row have missed an attachment's namespace. */
  readonly #missed = new Map<string, number>();
  #timer: Timer | undefined;

  constructor(components: AttachmentsComponents, init: AttachmentsInit) {
    this.#kernel = components.kernel;
    this.#journal = components.journal;
    this.#clock = components.clock;
    this.#log = components.log.child('attachments');
    this.#init = init;
    const count = components.metrics.gauge('portolan_attachments', 'Interfaces of containers on this host');
    this.#ledger = new AttachmentsLedger(
      { journal: components.journal, count },
      { onChange: () => init.onChange() },
    );
  }

  /** As the compiler of the overlay wants them: those under way and those being unmade included. */
  desired(): readonly Attachment[] {
    return this.#ledger.desired();
  }

  /** What other nodes may know: complete ones only. */
  list(): readonly Endpoint[] {
    return this.#ledger.endpoints();
  }

  /** Somebody waits for an attachment to be made, unmade or looked at. */
  get busy(): boolean {
    return this.#lock.size > 0;
  }

  /** As the journal has them. */
  records(): readonly AttachmentRecord[] {
    return this.#ledger.records();
  }

  /** Whether the interface is attached, or about to be. */
  has(interfaceOf: { readonly container: string; readonly ifname: string }): boolean {
    return this.#ledger.get(attachmentId(interfaceOf)) !== undefined;
  }

  /** Rejects when a host port is taken by another container or by a process of this host. */
  async refuseTakenPorts(mappings: readonly PortMapping[], container: string): Promise<void> {
    if (mappings.length === 0) return;
    this.#ledger.checkPorts(mappings);
    await refuseOccupiedPorts(this.#kernel, mappings, container);
  }

  /** How many addresses of a network's part of this host are free: of its scarcest family. */
  freeAddresses(name: string): number {
    const view = this.#init.network(name);
    return view === undefined ? 0 : this.#ledger.free(view.subnets);
  }

  add(request: CniRequest): Promise<CniResult> {
    return this.#lock.run(request.container, () => this.#add(request));
  }

  del(request: CniRequest): Promise<void> {
    return this.#lock.run(request.container, async () => {
      const record = this.#ledger.get(attachmentId(request));
      // A DEL that follows a refused ADD must not take what another network has under the same interface name.
      if (record !== undefined && record.network === request.config.name) await this.#undo(record);
    });
  }

  check(request: CniRequest): Promise<void> {
    return this.#lock.run(request.container, () => this.#check(request));
  }

  /** Rejects when no container can be attached (specification, "STATUS"). */
  async status(name: string): Promise<void> {
    const view = await this.#settledView(name);
    if (view.notReady !== undefined)
      throw new CniError(
        view.notReady.limited ? cniCodes.notAvailableLimited : cniCodes.notAvailable,
        `Overlay "${name}" is not ready: ${view.notReady.reason}`,
      );
    const full = this.#ledger.exhausted(view.subnets);
    if (full !== undefined)
      throw new CniError(cniCodes.notAvailable, `All addresses of ${full} in overlay "${name}" are in use`);
  }

  /** Removes what belongs to no listed attachment; goes on after a failure and reports all (specification, "GC"). */
  async gc(request: CniRequest): Promise<void> {
    const { name, owner, validAttachments } = request.config;
    if (validAttachments === undefined)
      throw new CniError(cniCodes.invalidConfig, 'GC needs "cni.dev/valid-attachments" in its configuration');
    const valid = new Set(validAttachments.map(attachmentId));
    const doomed = this.#ledger
      .records()
      .filter(
        (record) => record.network === name && record.owner === owner && !valid.has(attachmentId(record)),
      );
    const failures = await this.#undoAll(doomed, 'collected as garbage');
    if (failures.length > 0)
      throw new CniError(
        cniCodes.ioFailure,
        `${failures.length} attachments could not be removed`,
        failures.join('; '),
      );
  }

  /**
   * After a start, before anything is served: ends what a crash cut short, and forgets what a reboot took.
   * A marker lost without a reboot costs nothing: an attachment whose devices and namespace are there stays.
   */
  async recover(): Promise<void> {
    const rebooted = this.#journal.get(BOOT_KEY) !== this.#init.bootId;
    const doomed: AttachmentRecord[] = [];
    for (const record of this.#ledger.records()) {
      if (!(await outlives(this.#kernel, record, rebooted))) doomed.push(record);
      else if (record.state !== 'ready') this.#ledger.keep({ ...record, state: 'ready' });
    }
    await this.#undoAll(doomed, rebooted ? 'gone with a reboot' : 'cut short by a crash');
    await removeUnknownPairs(this.#kernel, this.#ledger.records(), this.#log);
    await this.#journal.write({ [BOOT_KEY]: this.#init.bootId });
  }

  /** Begins to sweep in the background. */
  start(): void {
    this.#timer = this.#clock.after(SWEEP_INTERVAL_MS, () => {
      void this.sweep()
        .catch((error: unknown) => this.#log.error('could not sweep attachments', { error }))
        .finally(() => {
          if (this.#timer !== undefined) this.start();
        });
    });
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Removes attachments whose namespace has gone without a DEL, and those that could not be unmade before. */
  async sweep(): Promise<void> {
    const lost: AttachmentRecord[] = [];
    for (const record of this.#ledger.records())
      if (!this.#lock.held(record.container) && (await this.#isLost(record))) lost.push(record);
    await this.#undoAll(lost, 'its namespace is gone, and no DEL came');
  }

  /** What is attached follows the MTU of its network. */
  async fitMtus(): Promise<void> {
    for (const record of this.#ledger.records())
      await this.#lock.run(record.container, () => this.#fitMtu(attachmentId(record)));
  }

  async #fitMtu(id: string): Promise<void> {
    const record = this.#ledger.get(id);
    const view = record === undefined ? undefined : this.#init.network(record.network);
    if (record?.state !== 'ready' || view === undefined) return;
    const mtu = mtuFor(record.mtuLimit, view);
    if (mtu === record.mtu) return;
    const fields = { container: record.container, ifname: record.ifname, was: record.mtu, mtu };
    try {
      await setMtu(this.#kernel, record, mtu);
      this.#ledger.keep({ ...record, mtu });
      this.#log.info('the MTU of an attachment follows its network', fields);
    } catch (error) {
      this.#log.warn('could not change the MTU of an attachment', { ...fields, error });
    }
  }

  /** The node has lost its blocks: its containers' addresses may be somebody else's by now. */
  async forgetAll(): Promise<void> {
    await this.#undoAll(this.#ledger.records(), 'this node gave up its block');
  }

  async #add(request: CniRequest): Promise<CniResult> {
    const { config } = request;
    const view = await this.#readyView(config.name);
    await this.#clearEarlier(request);
    const inside = await this.#containerNamespace(request.netns);
    try {
      // Containers before processes: who publishes a port often listens on it as well, to reserve it.
      await this.refuseTakenPorts(config.ports, request.container);
      const planned = this.#ledger.plan(request, view, inside.inode);
      const record = await this.#makeOrUndo(planned, inside);
      const previous = config.prevResult ?? emptyResult;
      return appendResult(previous, resultOf(record, view, this.#dns(config, previous, record)));
    } finally {
      inside.close();
    }
  }

  /** What the operator configured, else what an earlier plug-in of the chain found, else this host's own server. */
  #dns(config: CniRequest['config'], previous: CniResult, record: AttachmentRecord): CniResult['dns'] {
    if ([config.dns, previous.dns].some((dns) => Object.keys(dns).length > 0)) return config.dns;
    const nameservers = this.#init.dnsServers(addressesOf(record).map(({ address }) => address));
    return nameservers.length === 0 ? {} : { nameservers: [...nameservers], options: [...RESOLVER_OPTIONS] };
  }

  async #makeOrUndo(planned: AttachmentRecord, inside: NetworkNamespace): Promise<AttachmentRecord> {
    try {
      return await this.#make(planned, inside);
    } catch (error) {
      await this.#undo(planned).catch((second: unknown) => {
        const fields = { container: planned.container, ifname: planned.ifname, error: second };
        this.#log.warn('could not undo a failed ADD; the sweep tries again', fields);
      });
      throw error;
    }
  }

  async #make(planned: AttachmentRecord, inside: NetworkNamespace): Promise<AttachmentRecord> {
    const written = this.#ledger.intend(planned);
    // The disk is at work from the end of this turn on; meanwhile the pair is made.
    const paired = nextTurn().then(() => this.#makePair(planned, inside));
    const [made, saved] = await Promise.allSettled([paired, written]);
    if (made.status === 'rejected') throw made.reason;
    if (saved.status === 'rejected') throw saved.reason;
    const record: AttachmentRecord = { ...planned, state: 'ready', metric: made.value };
    await wireContainer(inside, record, this.#how());
    // Not waited for: a complete attachment that is still called pending is recognised after a crash. Before the
    // ports: what a round of the reconciler finds in the kernel's maps must be desired by then.
    this.#ledger.keep(record);
    await addPorts(this.#kernel, toDesired(record), () => this.#init.settled());
    return record;
  }

  /** The metric of the container's default routes, too: as they were without this attachment. */
  async #makePair(planned: AttachmentRecord, inside: NetworkNamespace): Promise<number> {
    await wireHost(this.#kernel, planned, () => this.#init.settled(), this.#how());
    return defaultMetric(inside);
  }

  /** Links of a crowd are made off the main thread. */
  #how(): ApplyOptions {
    return { elsewhere: this.#lock.size > 1 };
  }

  /** Unmakes in the reverse order; the address goes last, so that nobody gets it while anything of this is left. */
  async #undo(given: AttachmentRecord): Promise<void> {
    const record: AttachmentRecord = { ...given, state: 'doomed' };
    this.#ledger.keep(record);
    await removePorts(this.#kernel, { ...toDesired(record), ports: record.ports });
    await unwire(this.#kernel, record);
    await this.#ledger.forget(record);
    this.#missed.delete(attachmentId(given));
  }

  async #undoAll(records: readonly AttachmentRecord[], why: string): Promise<readonly string[]> {
    const outcomes = await Promise.all(
      records.map((record) => this.#lock.run(record.container, () => this.#undoLeftover(record, why))),
    );
    return outcomes.filter((failure) => failure !== undefined);
  }

  async #undoLeftover(record: AttachmentRecord, why: string): Promise<string | undefined> {
    const id = attachmentId(record);
    // While this waited, a DEL may have removed it, or an ADD replaced it.
    const current = this.#ledger.get(id);
    if (current?.inode !== record.inode) return undefined;
    const fields = { container: record.container, ifname: record.ifname, addresses: record.addresses, why };
    try {
      await this.#undo(current);
      this.#log.warn('removed an attachment', fields);
      return undefined;
    } catch (error) {
      this.#log.error('could not remove an attachment; the sweep tries again', { ...fields, error });
      return `${id}: ${describeError(error)}`;
    }
  }

  /** What an earlier ADD of the same interface left: refused if it stands, removed if it was cut short or is stale. */
  async #clearEarlier(request: CniRequest): Promise<void> {
    const earlier = this.#ledger.get(attachmentId(request));
    if (earlier === undefined) return;
    const stands =
      earlier.state === 'ready' && (await this.#kernel.namespaceInode(earlier.netns)) === earlier.inode;
    if (stands)
      throw new CniError(
        cniCodes.alreadyAttached,
        `Container "${earlier.container}" has "${earlier.ifname}" on network "${earlier.network}" already`,
        'a runtime must call DEL before it calls ADD again',
      );
    await this.#undo(earlier);
  }

  /** The caller closes it. */
  async #containerNamespace(path: string): Promise<NetworkNamespace> {
    const inside = await this.#kernel.openNamespace(path).catch((error: unknown) => {
      if (!isPortolanError(error)) throw error;
      throw new CniError(cniCodes.invalidEnvironment, `CNI_NETNS "${path}" is not a network namespace`);
    });
    if (inside.inode !== this.#kernel.inode) return inside;
    inside.close();
    throw new CniError(
      cniCodes.invalidEnvironment,
      `CNI_NETNS "${path}" is the host's own network namespace`,
    );
  }

  #view(name: string): NetworkView {
    const view = this.#init.network(name);
    if (view !== undefined) return view;
    const ours = this.#init.networks();
    throw new CniError(
      cniCodes.invalidConfig,
      `Network "${name}" is no overlay of this host`,
      ours.length === 0 ? 'it has none yet' : `it has ${ours.map((one) => `"${one}"`).join(', ')}`,
    );
  }

  /** Gives a network that is not ready one round of the reconciler to become so. */
  async #settledView(name: string): Promise<NetworkView> {
    if (this.#view(name).notReady !== undefined) await this.#init.settled();
    return this.#view(name);
  }

  async #readyView(name: string): Promise<NetworkView> {
    const view = await this.#settledView(name);
    if (view.notReady === undefined) return view;
    throw new CniError(cniCodes.tryAgainLater, `Overlay "${name}" is not ready: ${view.notReady.reason}`);
  }

  async #check(request: CniRequest): Promise<void> {
    this.#view(request.config.name);
    const record = this.#ledger.get(attachmentId(request));
    if (record?.network !== request.config.name || record.state !== 'ready')
      throw new CniError(
        cniCodes.unknownContainer,
        `Container "${request.container}" has no "${request.ifname}" on network "${request.config.name}"`,
      );
    const faults = disagreements(record, request);
    if ((await this.#kernel.namespaceInode(request.netns)) !== record.inode)
      faults.push(`namespace ${request.netns} is not the one that was attached`);
    else faults.push(...(await this.#faultsInKernel(record, request)));
    if (faults.length > 0)
      throw new CniError(cniCodes.checkFailed, `Container "${record.container}": ${faults.join('; ')}`);
  }

  async #faultsInKernel(record: AttachmentRecord, request: CniRequest): Promise<readonly string[]> {
    const inside = await this.#kernel.openNamespace(request.netns);
    try {
      // A plug-in later in the chain may have changed routes: only those that the final result names must be there.
      const routes = request.config.prevResult?.routes.map(({ dst }) => dst) ?? [];
      const ports = await missingPorts(this.#kernel, toDesired(record));
      return [
        ...(await findFaults(this.#kernel, inside, record)),
        ...(await missingRoutes(inside, record, routes)),
        ...ports.map((element) => `port mapping ${element} is missing`),
      ];
    } finally {
      inside.close();
    }
  }

  async #isLost(record: AttachmentRecord): Promise<boolean> {
    if (record.state !== 'ready') return true;
    const id = attachmentId(record);
    if ((await this.#kernel.namespaceInode(record.netns)) === record.inode) {
      this.#missed.delete(id);
      return false;
    }
    const missed = (this.#missed.get(id) ?? 0) + 1;
    this.#missed.set(id, missed);
    return missed >= SWEEPS_BEFORE_REMOVAL;
  }
}
