/**
 * A network namespace in memory that minds what the kernel minds.
 *
 * Purpose: plans can be tested against something that refuses a route over a missing or downed link, forgets the
 * addresses, routes, neighbours and forwarding entries of a deleted one, releases the ports of a deleted bridge and
 * takes veth peers down together.
 * Invariants: it passes contract.ts, as the real kernel does; values are copied in and out; nothing is asynchronous
 * but the promises.
 * Review notes: what the contract suite does not state is not promised here either.
 */
import { parseMac, type Mac } from '../base/mac.ts';
import { describeLink, describeOperation } from './describe.ts';
import { kernelErrorOf } from './errno.ts';
import { inventedMac, toLink, type FakeLink } from './link-fake.ts';
import { FakeObjects, type Refusal } from './objects-fake.ts';
import { offloadDevice } from './offload.ts';
import { sysctlKey } from './sysctl.ts';
import { isTolerated } from './tolerance.ts';
import type {
  Address,
  ErrnoCode,
  FdbEntry,
  KernelError,
  KernelEvent,
  KernelOperation,
  Link,
  LinkDetails,
  LinkSettings,
  Neighbour,
  NetworkNamespace,
  OperationFailure,
  Route,
  Rule,
} from './types.ts';

/** What can be made to fail: an operation, a reading, or a sysctl. */
export type FailureKind = KernelOperation['do'] | 'read' | 'sysctl';
type Code = Exclude<ErrnoCode, 'other'>;

/** What the namespaces of one machine share: paths, and the numbering of links. */
export interface FakeMachine {
  readonly namespaces: Map<string, FakeNamespace>;
  /** Where each link is. */
  readonly homes: Map<FakeLink, FakeNamespace>;
  nextIndex: number;
}

const MAX_NAME = 15;

export class FakeNamespace implements NetworkNamespace {
  /** Net sysctls by slashed key; put in what a test needs. */
  readonly sysctls = new Map<string, string>([
    ['net/ipv4/ip_forward', '0'],
    ['net/ipv6/conf/all/forwarding', '0'],
    ['net/ipv4/conf/all/rp_filter', '0'],
    ['net/ipv4/conf/default/rp_filter', '0'],
  ]);
  /** Every operation that was asked for, in order: for tests that look at what was done rather than what is. */
  readonly performed: KernelOperation[] = [];
  readonly listeners = new Set<(event: KernelEvent) => void>();
  readonly #machine: FakeMachine;
  readonly #links = new Map<number, FakeLink>();
  /** Of links whose receive offload was set. */
  readonly #offloads = new WeakMap<FakeLink, string>();
  readonly #objects: FakeObjects;
  readonly #failures = new Map<FailureKind, Code[]>();
  #own = true;

  constructor(components: { readonly machine: FakeMachine }) {
    this.#machine = components.machine;
    this.#objects = new FakeObjects({
      links: () => this.#links.values(),
      byName: (name) => this.#byName(name),
      tell: (...event) => this.#tell(...event),
    });
    this.#insert('lo', { kind: 'other', name: '' }, { mtu: 65_536, mac: parseMac('00:00:00:00:00:00') });
  }

  /** The next `times` operations (or readings) of this kind are refused with `code`. */
  failNext(kind: FailureKind, code: Code, times = 1): void {
    const queue = this.#failures.get(kind) ?? [];
    queue.push(...Array.from({ length: times }, () => code));
    this.#failures.set(kind, queue);
  }

  /** The same as `apply`, done by somebody else: monitors see it. */
  interfere(operations: readonly KernelOperation[]): readonly OperationFailure[] {
    this.#own = false;
    try {
      return this.#performAll([...operations]);
    } finally {
      this.#own = true;
    }
  }

  /** All links vanish, veth peers elsewhere too: what happens when a namespace goes. */
  destroy(): void {
    for (const link of [...this.#links.values()]) this.#remove(link);
  }

  /** Whether the bridge port sends packets back where they came from; no dump of ours tells. */
  isHairpin(name: string): boolean {
    return this.#byName(name)?.hairpin ?? false;
  }

  async links(): Promise<readonly Link[]> {
    this.#read('ip link show');
    return [...this.#links.values()].map(toLink);
  }

  async link(name: string): Promise<Link | undefined> {
    this.#read(`ip link show ${name}`);
    const link = this.#byName(name);
    return link === undefined ? undefined : toLink(link);
  }

  async addresses(filter: { readonly link?: string } = {}): Promise<readonly Address[]> {
    this.#read('ip address show');
    return this.#objects.addresses(filter.link);
  }

  async routes(
    filter: { readonly table?: number; readonly protocol?: number } = {},
  ): Promise<readonly Route[]> {
    this.#read('ip route show');
    return this.#objects
      .routes()
      .filter(
        ({ table, protocol }) =>
          table === (filter.table ?? table) && protocol === (filter.protocol ?? protocol),
      );
  }

  async rules(): Promise<readonly Rule[]> {
    this.#read('ip rule show');
    return this.#objects.rules();
  }

  async neighbours(filter: { readonly link?: string } = {}): Promise<readonly Neighbour[]> {
    this.#read('ip neigh show');
    return this.#objects.neighbours(filter.link);
  }

  async fdb(filter: { readonly link: string }): Promise<readonly FdbEntry[]> {
    this.#read('bridge fdb show');
    return this.#objects.fdb(filter.link);
  }

  async apply(operations: Iterable<KernelOperation>): Promise<readonly OperationFailure[]> {
    return this.#performAll([...operations]);
  }

  async readSysctl(key: string): Promise<string | undefined> {
    this.#fail('sysctl', `sysctl ${key}`);
    const device = offloadDevice(key);
    if (device === undefined) return this.sysctls.get(sysctlKey(key));
    const link = this.#byName(device);
    return link === undefined ? undefined : (this.#offloads.get(link) ?? '1');
  }

  async writeSysctl(key: string, value: string): Promise<void> {
    this.#fail('sysctl', `sysctl -w ${key}=${value}`);
    const device = offloadDevice(key);
    if (device !== undefined) return this.#setOffload(device, value);
    if (!this.sysctls.has(sysctlKey(key))) throw kernelErrorOf(`sysctl -w ${key}=${value}`, 'ENOENT');
    this.#set(sysctlKey(key), value);
  }

  #setOffload(device: string, value: string): void {
    const link = this.#byName(device);
    const refusal = link === undefined ? 'ENODEV' : value === '0' || value === '1' ? undefined : 'EINVAL';
    if (link === undefined || refusal !== undefined)
      throw kernelErrorOf(`ethtool -K ${device} gro ${value}`, refusal ?? 'ENODEV');
    this.#offloads.set(link, value);
  }

  /** As the kernel does, it tells of forwarding and rp_filter, whoever sets them. */
  #set(key: string, value: string): void {
    const before = this.sysctls.get(key);
    this.sysctls.set(key, value);
    if (before === value || !/\/(ip_forward|forwarding|rp_filter)$/.test(key)) return;
    this.#announce({
      object: 'sysctl',
      change: 'new',
      link: undefined,
      sysctls: { [key]: value },
      text: `${key} = ${value}`,
    });
  }

  close(): void {
    this.listeners.clear();
  }

  #read(what: string): void {
    this.#fail('read', what);
  }

  #fail(kind: FailureKind, what: string): void {
    const code = this.#failures.get(kind)?.shift();
    if (code !== undefined) throw kernelErrorOf(what, code);
  }

  #performAll(operations: readonly KernelOperation[]): readonly OperationFailure[] {
    const failures: OperationFailure[] = [];
    for (const [index, operation] of operations.entries()) {
      if (this.#own) this.performed.push(operation);
      const error = this.#tryOne(operation);
      if (error !== undefined && !isTolerated(operation, error.code))
        failures.push({ index, operation, error });
    }
    return failures;
  }

  #tryOne(operation: KernelOperation): KernelError | undefined {
    const code = this.#failures.get(operation.do)?.shift() ?? this.#perform(operation);
    return code === undefined ? undefined : kernelErrorOf(describeOperation(operation), code);
  }

  #perform(operation: KernelOperation): Refusal {
    switch (operation.do) {
      case 'link-add':
        return this.#addLink(operation);
      case 'link-set':
        return this.#withLink(operation.name, (link) => this.#setLink(link, operation.settings));
      case 'link-move':
        return this.#withLink(operation.name, (link) => this.#moveLink(link, operation.namespacePath));
      case 'link-delete':
        return this.#withLink(operation.name, (link) => this.#deleteLink(link));
      case 'address-replace':
        return this.#withLink(operation.address.link, (link) =>
          this.#objects.putAddress(link, operation.address),
        );
      case 'address-delete':
        return this.#withLink(operation.address.link, (link) =>
          this.#objects.dropAddress(link, operation.address),
        );
      case 'route-replace':
        return this.#objects.putRoute(operation.route);
      case 'route-delete':
        return this.#objects.dropRoute(operation.route);
      case 'rule-add':
        return this.#objects.addRule(operation.rule);
      case 'rule-delete':
        return this.#objects.dropRule(operation.rule);
      case 'neighbour-replace':
        return this.#withLink(operation.neighbour.link, (on) =>
          this.#objects.putNeighbour(on, operation.neighbour),
        );
      case 'neighbour-delete':
        return this.#withLink(operation.neighbour.link, (on) =>
          this.#objects.dropNeighbour(on, operation.neighbour),
        );
      case 'fdb-replace':
        return this.#withLink(operation.entry.link, (on) => this.#objects.putFdb(on, operation.entry));
      case 'fdb-delete':
        return this.#withLink(operation.entry.link, (on) => this.#objects.dropFdb(on, operation.entry));
    }
  }

  #withLink(name: string, action: (link: FakeLink) => Refusal): Refusal {
    const link = this.#byName(name);
    return link === undefined ? 'ENODEV' : action(link);
  }

  #byName(name: string): FakeLink | undefined {
    for (const link of this.#links.values())
      if (link.name === name || link.altNames.includes(name)) return link;
    return undefined;
  }

  #addLink(operation: Extract<KernelOperation, { do: 'link-add' }>): Refusal {
    const { name, link, settings } = operation;
    const refusal = this.#refuseName(name) ?? this.#refuseMaster(settings);
    if (refusal !== undefined) return refusal;
    if (link.kind !== 'veth') {
      const details: LinkDetails = link.kind === 'bridge' ? { kind: 'bridge' } : { ...link };
      if (link.kind === 'vxlan' && this.#sharesTunnel(link.vni, link.port)) return 'EEXIST';
      return this.#setLink(this.#insert(name, details, {}), settings);
    }
    const { peer } = link;
    const home = peer.namespacePath === undefined ? this : this.#machine.namespaces.get(peer.namespacePath);
    if (home === undefined) return 'ENOENT';
    if (home === this && peer.name === name) return 'EEXIST';
    const peerRefusal = home.#refuseName(peer.name);
    if (peerRefusal !== undefined) return peerRefusal;
    const near = this.#insert(name, { kind: 'veth' }, {});
    const far = home.#insert(
      peer.name,
      { kind: 'veth' },
      {
        ...(peer.mtu === undefined ? {} : { mtu: peer.mtu }),
        ...(peer.mac === undefined ? {} : { mac: peer.mac }),
      },
    );
    near.peer = far;
    far.peer = near;
    return this.#setLink(near, settings);
  }

  #refuseName(name: string): Refusal {
    if (name.length > MAX_NAME) return 'ERANGE';
    if (name === '' || name === '.' || name === '..' || /[/:\s]/.test(name)) return 'EINVAL';
    return this.#byName(name) === undefined ? undefined : 'EEXIST';
  }

  #refuseMaster(settings: LinkSettings): Refusal {
    if (typeof settings.master !== 'string') return undefined;
    const master = this.#byName(settings.master);
    if (master === undefined) return 'ENODEV';
    return master.details.kind === 'bridge' ? undefined : 'EOPNOTSUPP';
  }

  #sharesTunnel(vni: number, port: number): boolean {
    return [...this.#links.values()].some(
      ({ details }) => details.kind === 'vxlan' && details.vni === vni && details.port === port,
    );
  }

  #insert(
    name: string,
    details: LinkDetails,
    init: { readonly mtu?: number; readonly mac?: Mac | undefined },
  ): FakeLink {
    const index = this.#machine.nextIndex++;
    const link: FakeLink = {
      index: name === 'lo' ? 1 : index,
      name,
      up: false,
      mtu: init.mtu ?? 1500,
      mac: init.mac ?? inventedMac(index),
      alias: undefined,
      altNames: [],
      master: undefined,
      group: 0,
      details,
      hairpin: false,
      peer: undefined,
    };
    this.#links.set(link.index, link);
    this.#machine.homes.set(link, this);
    this.#tellLink('new', link);
    return link;
  }

  #setLink(link: FakeLink, settings: LinkSettings): Refusal {
    const refusal = this.#refuseSettings(link, settings);
    if (refusal !== undefined) return refusal;
    link.mtu = settings.mtu ?? link.mtu;
    link.mac = settings.mac ?? link.mac;
    link.alias = settings.alias === undefined ? link.alias : settings.alias || undefined;
    link.group = settings.group ?? link.group;
    link.name = settings.rename ?? link.name;
    if (settings.master !== undefined)
      link.master = settings.master === null ? undefined : this.#byName(settings.master);
    if (settings.addAltName !== undefined && !link.altNames.includes(settings.addAltName))
      link.altNames.push(settings.addAltName);
    link.hairpin = settings.hairpin ?? link.hairpin;
    if (settings.up === true) link.up = true;
    if (settings.up === false && link.up) {
      link.up = false;
      this.#objects.takeDown(link);
    }
    this.#tellLink('new', link);
    return undefined;
  }

  #refuseSettings(link: FakeLink, settings: LinkSettings): Refusal {
    const { rename, addAltName, mtu } = settings;
    if (mtu !== undefined && (mtu < 68 || mtu > 65_535)) return 'EINVAL';
    if (rename !== undefined && rename !== link.name) {
      const refusal = this.#refuseName(rename);
      if (refusal !== undefined) return refusal;
    }
    if (
      addAltName !== undefined &&
      !link.altNames.includes(addAltName) &&
      this.#byName(addAltName) !== undefined
    )
      return 'EEXIST';
    const master = this.#refuseMaster(settings);
    if (master !== undefined) return master;
    const port = settings.master === undefined ? link.master !== undefined : settings.master !== null;
    return settings.hairpin !== undefined && !port ? 'EOPNOTSUPP' : undefined;
  }

  #moveLink(link: FakeLink, path: string): Refusal {
    const target = this.#machine.namespaces.get(path);
    if (target === undefined) return 'ENOENT';
    if (target === this) return undefined;
    if (target.#byName(link.name) !== undefined) return 'EEXIST';
    link.up = false;
    this.#objects.strip(link);
    this.#links.delete(link.index);
    this.#tellLink('delete', link);
    if (target.#links.has(link.index)) link.index = this.#machine.nextIndex++;
    Object.assign(link, { up: false, master: undefined, hairpin: false });
    this.#machine.homes.set(link, target);
    target.#links.set(link.index, link);
    target.#tellLink('new', link);
    return undefined;
  }

  #deleteLink(link: FakeLink): Refusal {
    if (link.details.kind === 'other') return 'EOPNOTSUPP';
    this.#remove(link);
    return undefined;
  }

  #remove(link: FakeLink): void {
    link.up = false;
    this.#objects.strip(link);
    this.#links.delete(link.index);
    for (const port of this.#links.values())
      if (port.master === link) {
        port.master = undefined;
        port.hairpin = false;
      }
    this.#tellLink('delete', link);
    this.#machine.homes.delete(link);
    const { peer } = link;
    link.peer = undefined;
    const home = peer === undefined ? undefined : this.#machine.homes.get(peer);
    if (peer !== undefined && home !== undefined) home.#remove(peer);
  }

  #tellLink(change: KernelEvent['change'], link: FakeLink): void {
    if (this.#own) return;
    const shown = toLink(link);
    const { name, alias } = shown;
    const text = change === 'delete' ? `Deleted ${describeLink(shown)}` : describeLink(shown);
    this.#announce({ object: 'link', change, link: name, ...(alias === undefined ? {} : { alias }), text });
  }

  /** Like the kernel's: later, and not from within the operation. */
  #tell(
    object: KernelEvent['object'],
    change: KernelEvent['change'],
    link: string | undefined,
    line: string,
    own = this.#own,
  ): void {
    if (own) return;
    const text = change === 'delete' ? `Deleted ${line}` : line;
    this.#announce({ object, change, link, text });
  }

  #announce(event: KernelEvent): void {
    if (this.listeners.size === 0) return;
    queueMicrotask(() => {
      for (const listener of this.listeners) listener(event);
    });
  }
}
