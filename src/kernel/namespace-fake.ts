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
import { describeLink, describeOperation } from './describe.ts';
import { kernelErrorOf } from './errno.ts';
import { toLink, type FakeLink } from './link-fake.ts';
import { FakeLinks, type LinkMachine } from './links-fake.ts';
import { FakeObjects, type Refusal } from './objects-fake.ts';
import { offloadDevice } from './offload.ts';
import { sysctlKey } from './sysctl.ts';
import { isTolerated } from './tolerance.ts';
import { TABLE_MAIN } from './types.ts';
import type {
  Address,
  ErrnoCode,
  FdbEntry,
  KernelError,
  KernelEvent,
  KernelOperation,
  Link,
  Neighbour,
  NetworkNamespace,
  OperationFailure,
  Route,
  Rule,
} from './types.ts';

/** What can be made to fail: an operation, a reading, or a sysctl. */
export type FailureKind = KernelOperation['do'] | 'read' | 'sysctl';
type Code = Exclude<ErrnoCode, 'other'>;

/** What the namespaces of one machine share. */
export interface FakeMachine extends LinkMachine {
  readonly namespaces: Map<string, FakeNamespace>;
}

export class FakeNamespace implements NetworkNamespace {
  readonly inode: number;
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
  readonly #untold: KernelEvent[] = [];
  readonly #links: FakeLinks;
  /** Of links whose receive offload was set. */
  readonly #offloads = new WeakMap<FakeLink, string>();
  readonly #objects: FakeObjects;
  readonly #failures = new Map<FailureKind, Code[]>();
  #own = true;

  constructor(components: { readonly machine: FakeMachine; readonly inode: number }) {
    this.inode = components.inode;
    this.#objects = new FakeObjects({
      links: () => this.#links.all(),
      byName: (name) => this.#links.byName(name),
      tell: (...event) => this.#tell(...event),
    });
    this.#links = new FakeLinks({
      machine: components.machine,
      objects: this.#objects,
      tell: (change, link) => this.#tellLink(change, link),
    });
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
    this.#links.destroy();
  }

  /** As the links of other namespaces see this one. */
  get home(): FakeLinks {
    return this.#links;
  }

  /** Whether the bridge port sends packets back where they came from; no dump of ours tells. */
  isHairpin(name: string): boolean {
    return this.#links.byName(name)?.hairpin ?? false;
  }

  async links(): Promise<readonly Link[]> {
    this.#read('ip link show');
    return this.#links.all().map(toLink);
  }

  async link(name: string): Promise<Link | undefined> {
    this.#read(`ip link show ${name}`);
    const link = this.#links.byName(name);
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

  async defaultRoutes(): Promise<readonly Route[]> {
    const routes = await this.routes({ table: TABLE_MAIN });
    return routes.filter(({ destination }) => destination.length === 0);
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
    const link = this.#links.byName(device);
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
    const link = this.#links.byName(device);
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
    this.announce({
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
        return this.#links.add(operation);
      case 'link-set':
        return this.#withLink(operation.name, (link) => this.#links.set(link, operation.settings));
      case 'link-move':
        return this.#withLink(operation.name, (link) => this.#links.move(link, operation.namespacePath));
      case 'link-delete':
        return this.#withLink(operation.name, (link) => this.#links.delete(link));
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
    const link = this.#links.byName(name);
    return link === undefined ? 'ENODEV' : action(link);
  }

  #tellLink(change: KernelEvent['change'], link: FakeLink): void {
    if (this.#own) return;
    const shown = toLink(link);
    const { name, alias } = shown;
    const text = change === 'delete' ? `Deleted ${describeLink(shown)}` : describeLink(shown);
    this.announce({ object: 'link', change, link: name, ...(alias === undefined ? {} : { alias }), text });
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
    this.announce({ object, change, link, text });
  }

  /** To the monitors, when they come to read it. */
  protected announce(event: KernelEvent): void {
    if (this.listeners.size === 0) return;
    this.#untold.push(event);
    queueMicrotask(() => this.tell());
  }

  /** All that was announced, now. */
  protected tell(): void {
    for (const event of this.#untold.splice(0)) for (const listener of this.listeners) listener(event);
  }
}
