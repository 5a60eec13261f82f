/**
 * What every `Kernel` must do, real or fake: one list of cases, each on a namespace of its own.
 *
 * `open` gives a kernel with nothing in it but `lo`, and two further namespaces by path.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import {
  isErrno,
  PROTOCOL_PORTOLAN,
  TABLE_HOSTS,
  TABLE_MAIN,
  type FdbEntry,
  type Kernel,
  type KernelEvent,
  type KernelOperation,
  type LinkSettings,
  type Neighbour,
  type NewLink,
  type Route,
  type Rule,
} from './types.ts';

export interface OpenKernel {
  readonly kernel: Kernel;
  /** Paths of two empty namespaces. */
  readonly namespaces: readonly [string, string];
  /** Performs operations as somebody else. */
  interfere(operations: readonly KernelOperation[]): Promise<void>;
  close(): Promise<void> | void;
}

const mac = (last: number): Mac => {
  const parsed = parseMac(`70:b3:d5:80:00:${last.toString(16).padStart(2, '0')}`);
  if (parsed === undefined) throw new Error('a MAC for a test is malformed');
  return parsed;
};

const bridge: NewLink = { kind: 'bridge' };
const vxlan: Extract<NewLink, { kind: 'vxlan' }> = {
  kind: 'vxlan',
  vni: 1024,
  local: ip('10.0.0.1'),
  port: 64_000,
  learning: false,
};
const add = (name: string, link: NewLink, settings: LinkSettings = {}): KernelOperation => ({
  do: 'link-add',
  name,
  link,
  settings,
});
const set = (name: string, settings: LinkSettings): KernelOperation => ({ do: 'link-set', name, settings });
const remove = (name: string): KernelOperation => ({ do: 'link-delete', name });
const address = (link: string, text: string): KernelOperation => ({
  do: 'address-replace',
  address: { link, address: interfaceAddress(text) },
});
const route = (change: Partial<Route> = {}): Route => ({
  destination: prefix('9.0.1.0/24'),
  table: TABLE_MAIN,
  protocol: PROTOCOL_PORTOLAN,
  metric: 1001,
  gateway: ip('44.128.0.2'),
  link: 'vtep',
  onlink: true,
  ...change,
});
const neighbour = (change: Partial<Neighbour> = {}): Neighbour => ({
  link: 'vtep',
  address: ip('44.128.0.2'),
  mac: mac(2),
  permanent: true,
  ...change,
});
const fdb = (change: Partial<FdbEntry> = {}): FdbEntry => ({
  link: 'vtep',
  mac: mac(2),
  destination: ip('10.0.0.2'),
  permanent: true,
  ...change,
});

/** A VTEP, up, with its addresses. */
const vtep: readonly KernelOperation[] = [
  add('vtep', vxlan, { up: true, mac: mac(1) }),
  address('vtep', '44.128.0.1/20'),
  address('vtep', 'fd01:a::1/64'),
];

export function kernelContract(name: string, open: () => Promise<OpenKernel> | OpenKernel): void {
  describe(name, () => {
    let opened: OpenKernel;
    let kernel: Kernel;

    beforeEach(async () => {
      opened = await open();
      kernel = opened.kernel;
    });
    afterEach(() => opened.close());

    /** Performs operations that must all succeed. */
    async function done(...operations: readonly KernelOperation[]): Promise<void> {
      const failures = await kernel.apply(operations);
      expect(failures.map(({ error }) => error.message)).toEqual([]);
    }

    /** The errno of an operation that must fail. */
    async function refusal(operation: KernelOperation): Promise<string | undefined> {
      return (await kernel.apply([operation]))[0]?.error.code;
    }

    const ours = async (): Promise<readonly Route[]> => kernel.routes({ protocol: PROTOCOL_PORTOLAN });
    const ourRoutes = async (): Promise<string[]> =>
      (await ours()).map(({ destination, gateway }) => `${String(destination)} ${String(gateway)}`).sort();

    describe('links', () => {
      it('has lo and nothing else at first', async () => {
        expect((await kernel.links()).map((link) => link.name)).toEqual(['lo']);
        expect(await kernel.link('none')).toBeUndefined();
      });

      it('makes a bridge with everything that can be asked of it', async () => {
        const settings = { up: true, mtu: 1400, mac: mac(9), alias: 'portolan m-dcos', group: 7 };
        await done(add('m-dcos', bridge, { ...settings, addAltName: 'portolan-dcos' }));
        expect(await kernel.link('m-dcos')).toMatchObject({
          ...settings,
          name: 'm-dcos',
          altNames: ['portolan-dcos'],
          master: undefined,
          details: { kind: 'bridge' },
        });
      });

      it('makes a VXLAN device', async () => {
        await done(add('vtep', vxlan, { up: true, mac: mac(1), mtu: 1450 }));
        const link = await kernel.link('vtep');
        expect(link).toMatchObject({ name: 'vtep', up: true, mac: mac(1), mtu: 1450 });
        expect(link?.details).toEqual({
          kind: 'vxlan',
          vni: 1024,
          local: ip('10.0.0.1'),
          port: 64_000,
          learning: false,
        });
      });

      it('makes a VXLAN device over IPv6 that learns', async () => {
        await done(add('vtep6', { ...vxlan, local: ip('fd00::1'), learning: true }));
        expect((await kernel.link('vtep6'))?.details).toMatchObject({ local: ip('fd00::1'), learning: true });
      });

      it('makes a veth pair whose far end is in another namespace', async () => {
        const [path] = opened.namespaces;
        const peer = { name: 'eth0', mtu: 1400, mac: mac(5), namespacePath: path };
        await done(
          add('br', bridge),
          add('veth1', { kind: 'veth', peer }, { up: true, master: 'br', mtu: 1400 }),
        );
        expect(await kernel.link('veth1')).toMatchObject({
          master: 'br',
          up: true,
          details: { kind: 'veth' },
        });
        expect(await kernel.link('eth0')).toBeUndefined();
        const inside = await kernel.openNamespace(path);
        expect(await inside.link('eth0')).toMatchObject({ mtu: 1400, mac: mac(5), up: false });
        inside.close();
      });

      it('changes, renames and releases a link', async () => {
        await done(add('br', bridge), add('a', { kind: 'veth', peer: { name: 'b' } }, { master: 'br' }));
        await done(set('a', { hairpin: true, mtu: 1300 }), set('a', { rename: 'c', alias: 'portolan x' }));
        expect(await kernel.link('c')).toMatchObject({ mtu: 1300, alias: 'portolan x', master: 'br' });
        await done(set('c', { master: null }));
        expect((await kernel.link('c'))?.master).toBeUndefined();
        expect(await kernel.link('a')).toBeUndefined();
      });

      it('lists links with the names of their masters', async () => {
        await done(add('br', bridge), add('a', { kind: 'veth', peer: { name: 'b' } }, { master: 'br' }));
        const masters = (await kernel.links()).map((link) => `${link.name} ${link.master ?? '-'}`).sort();
        expect(masters).toEqual(['a br', 'b -', 'br -', 'lo -']);
      });

      it('adds an alternative name twice without failure, and no name that another link has', async () => {
        await done(add('br', bridge), add('br2', bridge));
        await done(set('br', { addAltName: 'other' }), set('br', { addAltName: 'other' }));
        expect(await refusal(set('br2', { addAltName: 'other' }))).toBe('EEXIST');
        expect((await kernel.link('other'))?.name).toBe('br');
      });

      it('refuses what cannot be', async () => {
        await done(add('br', bridge));
        expect(await refusal(add('br', bridge, { alias: 'portolan' }))).toBe('EEXIST');
        expect((await kernel.link('br'))?.alias).toBeUndefined();
        expect(await refusal(add('sixteen-letters!', bridge))).toBe('ERANGE');
        expect(await refusal(add('a', bridge, { master: 'none' }))).toBe('ENODEV');
        expect(await refusal(set('none', { up: true }))).toBe('ENODEV');
        expect(await refusal(set('br', { mtu: 10 }))).toBe('EINVAL');
        expect(await refusal(set('br', { rename: 'lo' }))).toBe('EEXIST');
        const lost = { name: 'eth0', namespacePath: '/nowhere/at-all' };
        expect(await refusal(add('a', { kind: 'veth', peer: lost }))).toBe('ENOENT');
        expect(await refusal(remove('lo'))).toBe('EOPNOTSUPP');
      });

      it('refuses a second device of the same VNI and port', async () => {
        await done(add('vtep', vxlan));
        expect(await refusal(add('vtep2', vxlan))).toBe('EEXIST');
      });

      it('moves a link into another namespace', async () => {
        const [path] = opened.namespaces;
        await done(add('a', { kind: 'veth', peer: { name: 'b' } }), address('b', '9.0.1.2/24'));
        await done({ do: 'link-move', name: 'b', namespacePath: path });
        expect(await kernel.link('b')).toBeUndefined();
        const inside = await kernel.openNamespace(path);
        expect((await inside.link('b'))?.details).toEqual({ kind: 'veth' });
        expect(await inside.addresses({ link: 'b' })).toEqual([]);
        inside.close();
      });

      it('deletes links, and once more without failure', async () => {
        await done(add('br', bridge));
        await done(remove('br'), remove('br'));
        expect(await kernel.link('br')).toBeUndefined();
      });

      it('takes a veth peer along', async () => {
        const [path] = opened.namespaces;
        await done(add('a', { kind: 'veth', peer: { name: 'b', namespacePath: path } }));
        await done(remove('a'));
        const inside = await kernel.openNamespace(path);
        expect(await inside.link('b')).toBeUndefined();
        inside.close();
      });

      it('deletes many at once, enslaved ones and both ends of a pair among them', async () => {
        const names = Array.from({ length: 6 }, (_, i) => `v${i}`);
        await done(
          add('br', bridge),
          ...names.map((veth) => add(veth, { kind: 'veth', peer: { name: `${veth}p` } }, { master: 'br' })),
        );
        const results = await Promise.all(
          [...names, 'v0p', 'v1p', 'none'].map((veth) => kernel.apply([remove(veth)])),
        );
        expect(results.flat()).toEqual([]);
        expect((await kernel.links()).map((link) => link.name).sort()).toEqual(['br', 'lo']);
      });

      it('says which of many deletions failed', async () => {
        await done(add('br', bridge), add('br2', bridge));
        const failures = await kernel.apply([remove('br'), remove('lo'), remove('br2')]);
        expect(failures.map(({ index, error }) => `${index} ${error.code}`)).toEqual(['1 EOPNOTSUPP']);
        expect((await kernel.links()).map((link) => link.name)).toEqual(['lo']);
      });

      it('goes on with what follows a deletion, in order', async () => {
        await done(add('br', bridge, { alias: 'old' }));
        await done(remove('br'), add('br', bridge, { alias: 'new' }), address('br', '9.0.1.1/24'));
        expect((await kernel.link('br'))?.alias).toBe('new');
        expect(await kernel.addresses({ link: 'br' })).toHaveLength(1);
      });

      it('releases the ports of a deleted bridge', async () => {
        await done(add('br', bridge), add('a', { kind: 'veth', peer: { name: 'b' } }, { master: 'br' }));
        await done(remove('br'));
        expect((await kernel.link('a'))?.master).toBeUndefined();
      });
    });

    describe('addresses', () => {
      const of = async (link: string): Promise<string[]> =>
        (await kernel.addresses({ link })).map((held) => String(held.address)).sort();

      it('adds addresses of both families, twice without failure', async () => {
        await done(add('br', bridge));
        for (let round = 0; round < 2; round++)
          await done(address('br', '9.0.1.1/25'), address('br', 'fd01:b::1/80'));
        expect(await of('br')).toEqual(['9.0.1.1/25', 'fd01:b::1/80']);
      });

      it('removes them, and once more without failure', async () => {
        await done(add('br', bridge), address('br', '9.0.1.1/25'));
        const gone = interfaceAddress('9.0.1.1/25');
        for (let round = 0; round < 2; round++)
          await done({ do: 'address-delete', address: { link: 'br', address: gone } });
        await done({ do: 'address-delete', address: { link: 'none', address: gone } });
        expect(await of('br')).toEqual([]);
      });

      it('refuses a link that is not there, and has no addresses of one', async () => {
        expect(await refusal(address('none', '9.0.1.1/25'))).toBe('ENODEV');
        expect(await kernel.addresses({ link: 'none' })).toEqual([]);
      });

      it('forgets those of a deleted link', async () => {
        await done(add('br', bridge), address('br', '9.0.1.1/25'), remove('br'), add('br', bridge));
        expect(await of('br')).toEqual([]);
      });
    });

    describe('routes', () => {
      it('makes a route and gives it back as it was asked for', async () => {
        await done(...vtep, { do: 'route-replace', route: route() });
        expect(await ours()).toEqual([route()]);
      });

      it('makes routes of IPv6, of other tables and without gateway', async () => {
        await done(...vtep, { do: 'route-replace', route: route({ table: TABLE_HOSTS, metric: 0 }) });
        const six = { destination: prefix('fd01:b:0:0:1::/80'), gateway: ip('fd01:a::2'), metric: 5 };
        await done({ do: 'route-replace', route: route(six) });
        const direct = { destination: prefix('9.0.9.0/24'), gateway: undefined, onlink: false, table: 1000 };
        await done({ do: 'route-replace', route: route(direct) });
        expect(await kernel.routes({ table: TABLE_HOSTS })).toEqual([
          route({ table: TABLE_HOSTS, metric: 0 }),
        ]);
        expect(await kernel.routes({ table: 1000 })).toEqual([route(direct)]);
        expect((await ourRoutes())[2]).toBe('fd01:b:0:0:1::/80 fd01:a::2');
        expect(await kernel.routes({ table: 4711 })).toEqual([]);
      });

      it('has the metric of IPv6 routes that were given none', async () => {
        const six = { destination: prefix('fd01:b:0:0:1::/80'), gateway: ip('fd01:a::2'), metric: 0 };
        await done(...vtep, { do: 'route-replace', route: route(six) });
        expect((await ours()).map(({ metric }) => metric)).toEqual([1024]);
        await done({ do: 'route-delete', route: route(six) });
        expect(await ours()).toEqual([]);
      });

      it('replaces the gateway of a route of the same metric', async () => {
        await done(...vtep, { do: 'route-replace', route: route() });
        await done({ do: 'route-replace', route: route({ gateway: ip('44.128.0.3') }) });
        await done({ do: 'route-replace', route: route({ gateway: ip('44.128.0.3') }) });
        expect(await ourRoutes()).toEqual(['9.0.1.0/24 44.128.0.3']);
      });

      it('makes a default route through a gateway that an address reaches', async () => {
        const change = { destination: prefix('0.0.0.0/0'), onlink: false, metric: 0 };
        await done(...vtep, { do: 'route-replace', route: route(change) });
        expect(await ours()).toEqual([route(change)]);
      });

      it('removes a route, and once more without failure', async () => {
        await done(...vtep, { do: 'route-replace', route: route() });
        await done({ do: 'route-delete', route: route() }, { do: 'route-delete', route: route() });
        await done({ do: 'route-delete', route: route({ link: 'none' }) });
        expect(await ours()).toEqual([]);
      });

      it('does not remove a route of another protocol', async () => {
        await done(...vtep, { do: 'route-replace', route: route({ protocol: 4 }) });
        await done({ do: 'route-delete', route: route() });
        expect(await kernel.routes({ protocol: 4 })).toHaveLength(1);
      });

      it('refuses a route over a link that is missing or down, and an unreachable gateway', async () => {
        expect(await refusal({ do: 'route-replace', route: route() })).toBe('ENODEV');
        await done(...vtep);
        const far = route({ gateway: ip('8.8.8.8'), onlink: false });
        expect(await refusal({ do: 'route-replace', route: far })).toBe('ENETUNREACH');
        const own = route({ gateway: ip('44.128.0.1') });
        expect(await refusal({ do: 'route-replace', route: own })).toBe('EINVAL');
        await done(set('vtep', { up: false }));
        expect(await refusal({ do: 'route-replace', route: route() })).toBe('ENETDOWN');
      });

      it('forgets routes when their link goes down or away', async () => {
        await done(...vtep, { do: 'route-replace', route: route() }, set('vtep', { up: false }));
        expect(await ours()).toEqual([]);
        await done(set('vtep', { up: true }), { do: 'route-replace', route: route() }, remove('vtep'));
        expect(await ours()).toEqual([]);
      });

      it('has the kernel’s own route for an address of a link that is up', async () => {
        await done(...vtep);
        const connected = (await kernel.routes({ table: TABLE_MAIN, protocol: 2 })).map(routeText);
        expect(connected).toContain('44.128.0.0/20 vtep undefined');
      });
    });

    describe('rules', () => {
      const rule: Rule = {
        family: 4,
        priority: 30_000,
        from: prefix('9.0.0.0/8'),
        to: undefined,
        table: TABLE_HOSTS,
        protocol: PROTOCOL_PORTOLAN,
      };
      const ourRules = async (): Promise<readonly Rule[]> =>
        (await kernel.rules()).filter(({ protocol }) => protocol === PROTOCOL_PORTOLAN);

      it('has the kernel’s own at first', async () => {
        const texts = (await kernel.rules()).map(
          ({ family, priority, table }) => `${family} ${priority} ${table}`,
        );
        expect(texts).toEqual(['4 0 255', '4 32766 254', '4 32767 253', '6 0 255', '6 32766 254']);
      });

      it('adds rules of both families, twice without failure', async () => {
        const six: Rule = { ...rule, family: 6, from: undefined, to: prefix('fd01:b::/64'), table: 1000 };
        for (let round = 0; round < 2; round++)
          await done({ do: 'rule-add', rule }, { do: 'rule-add', rule: six });
        expect(await ourRules()).toEqual([rule, six]);
      });

      it('removes a rule, and once more without failure', async () => {
        await done({ do: 'rule-add', rule });
        await done({ do: 'rule-delete', rule }, { do: 'rule-delete', rule });
        expect(await ourRules()).toEqual([]);
      });
    });

    describe('neighbours and forwarding entries', () => {
      it('makes them and gives them back', async () => {
        const six = neighbour({ address: ip('fd01:a::2') });
        await done(
          ...vtep,
          { do: 'neighbour-replace', neighbour: neighbour() },
          { do: 'neighbour-replace', neighbour: six },
          { do: 'fdb-replace', entry: fdb() },
        );
        expect(await kernel.neighbours({ link: 'vtep' })).toEqual([neighbour(), six]);
        expect(await kernel.neighbours({ link: 'none' })).toEqual([]);
        expect(await kernel.fdb({ link: 'vtep' })).toEqual([fdb()]);
        expect(await kernel.fdb({ link: 'none' })).toEqual([]);
      });

      it('replaces the MAC of a neighbour and the destination of an entry', async () => {
        await done(
          ...vtep,
          { do: 'neighbour-replace', neighbour: neighbour() },
          { do: 'fdb-replace', entry: fdb() },
        );
        for (let round = 0; round < 2; round++)
          await done(
            { do: 'neighbour-replace', neighbour: neighbour({ mac: mac(3) }) },
            { do: 'fdb-replace', entry: fdb({ destination: ip('10.0.0.3') }) },
          );
        expect(await kernel.neighbours({ link: 'vtep' })).toEqual([neighbour({ mac: mac(3) })]);
        expect(await kernel.fdb({ link: 'vtep' })).toEqual([fdb({ destination: ip('10.0.0.3') })]);
      });

      it('removes them, and once more without failure', async () => {
        await done(
          ...vtep,
          { do: 'neighbour-replace', neighbour: neighbour() },
          { do: 'fdb-replace', entry: fdb() },
        );
        for (let round = 0; round < 2; round++)
          await done(
            { do: 'neighbour-delete', neighbour: neighbour() },
            { do: 'fdb-delete', entry: fdb() },
            { do: 'neighbour-delete', neighbour: neighbour({ link: 'none' }) },
            { do: 'fdb-delete', entry: fdb({ link: 'none' }) },
          );
        expect(await kernel.neighbours({ link: 'vtep' })).toEqual([]);
        expect(await kernel.fdb({ link: 'vtep' })).toEqual([]);
      });

      it('refuses a link that is not there', async () => {
        expect(await refusal({ do: 'neighbour-replace', neighbour: neighbour() })).toBe('ENODEV');
        expect(await refusal({ do: 'fdb-replace', entry: fdb() })).toBe('ENODEV');
      });

      it('forgets them with their link', async () => {
        await done(
          ...vtep,
          { do: 'neighbour-replace', neighbour: neighbour() },
          { do: 'fdb-replace', entry: fdb() },
          remove('vtep'),
          ...vtep,
        );
        expect(await kernel.neighbours({ link: 'vtep' })).toEqual([]);
        expect(await kernel.fdb({ link: 'vtep' })).toEqual([]);
      });
    });

    describe('lists of operations', () => {
      it('goes on after a failure and says which operations failed, by command', async () => {
        const failures = await kernel.apply([
          ...vtep,
          { do: 'route-replace', route: route({ link: 'none' }) },
          { do: 'neighbour-replace', neighbour: neighbour() },
          { do: 'route-replace', route: route({ gateway: ip('8.8.8.8'), onlink: false }) },
          { do: 'route-replace', route: route() },
        ]);
        expect(failures.map(({ index, error }) => `${index} ${error.code}`)).toEqual([
          '3 ENODEV',
          '5 ENETUNREACH',
        ]);
        expect(failures[0]?.operation.do).toBe('route-replace');
        expect(failures[0]?.error.message).toMatch(
          /^ip route replace 9\.0\.1\.0\/24 via 44\.128\.0\.2 dev none /,
        );
        expect(await ourRoutes()).toEqual(['9.0.1.0/24 44.128.0.2']);
        expect(await kernel.neighbours({ link: 'vtep' })).toHaveLength(1);
      });

      it('performs hundreds of operations', async () => {
        const count = 300;
        const remotes = Array.from({ length: count }, (_, i) => i);
        const remote = (i: number): KernelOperation[] => [
          {
            do: 'neighbour-replace',
            neighbour: neighbour({ address: ip(`44.128.${1 + (i >> 8)}.${i & 255}`) }),
          },
          {
            do: 'route-replace',
            route: route({
              destination: prefix(`9.${1 + (i >> 8)}.${i & 255}.0/24`),
              gateway: ip(`44.128.${1 + (i >> 8)}.${i & 255}`),
              metric: 1000 + i,
            }),
          },
        ];
        await done(...vtep, ...remotes.flatMap(remote));
        expect(await ours()).toHaveLength(count);
        expect(await kernel.neighbours({ link: 'vtep' })).toHaveLength(count);
      });

      it('has nothing to do for an empty list', async () => {
        expect(await kernel.apply([])).toEqual([]);
      });
    });

    describe('sysctls and namespaces', () => {
      it('reads and writes sysctls by either spelling', async () => {
        await kernel.writeSysctl('net.ipv4.ip_forward', '1');
        expect(await kernel.readSysctl('net/ipv4/ip_forward')).toBe('1');
        expect(await kernel.readSysctl('net.ipv4.no_such_thing')).toBeUndefined();
        await expect(kernel.writeSysctl('net.ipv4.no_such_thing', '1')).rejects.toSatisfy((error) =>
          isErrno(error, 'ENOENT'),
        );
        await expect(kernel.readSysctl('kernel.hostname')).rejects.toThrow('it is no net sysctl');
      });

      it('keeps namespaces apart', async () => {
        const [one, two] = await Promise.all(opened.namespaces.map((path) => kernel.openNamespace(path)));
        await one?.apply([add('br', bridge)]);
        await one?.writeSysctl('net.ipv4.ip_forward', '1');
        expect((await one?.links())?.map((link) => link.name)).toEqual(['lo', 'br']);
        expect((await two?.links())?.map((link) => link.name)).toEqual(['lo']);
        expect(await two?.readSysctl('net.ipv4.ip_forward')).toBe('0');
        expect(await kernel.link('br')).toBeUndefined();
        one?.close();
        two?.close();
      });

      it('tells namespaces by their inode', async () => {
        const [one, two] = opened.namespaces;
        const inode = await kernel.namespaceInode(one);
        expect(inode).toBeGreaterThan(0);
        expect(await kernel.namespaceInode(one)).toBe(inode);
        expect(await kernel.namespaceInode(two)).not.toBe(inode);
        expect(await kernel.namespaceInode('/nowhere/at-all')).toBeUndefined();
      });

      it('rejects a namespace that is not there', async () => {
        await expect(kernel.openNamespace('/nowhere/at-all')).rejects.toThrow('Open network namespace');
      });

      it('finds no connections to delete where there are none', async () => {
        expect(await kernel.deleteConnections({ address: ip('9.0.1.2'), protocol: 17, port: 53 })).toBe(0);
      });
    });

    describe('the monitor', () => {
      const objects = ['link', 'address', 'route', 'rule', 'neighbour', 'fdb'] as const;
      const rule: Rule = {
        family: 4,
        priority: 30_000,
        from: undefined,
        to: undefined,
        table: TABLE_HOSTS,
        protocol: PROTOCOL_PORTOLAN,
      };
      const everything: readonly KernelOperation[] = [
        ...vtep,
        { do: 'route-replace', route: route() },
        { do: 'rule-add', rule },
        { do: 'neighbour-replace', neighbour: neighbour() },
        { do: 'fdb-replace', entry: fdb() },
      ];
      const nothing: readonly KernelOperation[] = [
        { do: 'fdb-delete', entry: fdb() },
        { do: 'neighbour-delete', neighbour: neighbour() },
        { do: 'rule-delete', rule },
        { do: 'route-delete', route: route() },
        { do: 'address-delete', address: { link: 'vtep', address: interfaceAddress('44.128.0.1/20') } },
        remove('vtep'),
      ];

      /** Waits until the events have one of each object, with this change and maker. */
      async function seen(
        events: readonly KernelEvent[],
        change: KernelEvent['change'],
        own: boolean,
      ): Promise<void> {
        await expect
          .poll(() =>
            objects.filter((object) =>
              events.some((event) => event.object === object && event.change === change && event.own === own),
            ),
          )
          .toEqual(objects);
      }

      it('tells what others change, with its link and a line', async () => {
        const events: KernelEvent[] = [];
        const monitor = await kernel.monitor((event) => events.push(event));
        await opened.interfere(everything);
        await seen(events, 'new', false);
        const made = events.find(({ object, link }) => object === 'route' && link === 'vtep');
        expect(made?.link).toBe('vtep');
        await opened.interfere(nothing);
        await seen(events, 'delete', false);
        expect(events.filter(({ own }) => own)).toEqual([]);
        monitor.close();
      });

      it('knows what this handle changed as its own', async () => {
        const events: KernelEvent[] = [];
        const monitor = await kernel.monitor((event) => events.push(event));
        await done(...everything);
        await seen(events, 'new', true);
        await done(...nothing);
        await seen(events, 'delete', true);
        const texts = events.filter(({ object, own }) => own && object === 'fdb').map(({ text }) => text);
        expect(texts).toEqual([
          `${mac(2)} dev vtep dst 10.0.0.2 self permanent`,
          `Deleted ${mac(2)} dev vtep dst 10.0.0.2 self permanent`,
        ]);
        monitor.close();
      });

      it('tells when somebody changes nftables', async () => {
        const events: KernelEvent[] = [];
        const monitor = await kernel.monitor((event) => events.push(event));
        await kernel.nft.run('add table inet other');
        await expect.poll(() => events.some(({ object }) => object === 'nft')).toBe(true);
        monitor.close();
      });

      it('is silent once closed', async () => {
        const events: KernelEvent[] = [];
        const closed = await kernel.monitor((event) => events.push(event));
        closed.close();
        const others: KernelEvent[] = [];
        const monitor = await kernel.monitor((event) => others.push(event));
        await opened.interfere(everything);
        await seen(others, 'new', false);
        expect(events).toEqual([]);
        monitor.close();
      });
    });
  });
}

function routeText(value: Route): string {
  return `${String(value.destination)} ${String(value.link)} ${String(value.gateway)}`;
}
