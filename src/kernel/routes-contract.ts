/** Cases of routes and of lists of operations. */
import { describe, expect, it } from 'vitest';
import { ip, prefix } from '../base/ip.ts';
import { set, remove, route, neighbour, vtep, ours, ourRoutes, type Case } from './samples-contract.ts';
import { TABLE_HOSTS, TABLE_MAIN, type KernelOperation, type Route } from './types.ts';

/** `given` is the case at hand. */
export function routeCases(given: () => Case): void {
  describe('routes', () => {
    it('makes a route and gives it back as it was asked for', async () => {
      await given().done(...vtep, { do: 'route-replace', route: route() });
      expect(await ours(given().kernel)).toEqual([route()]);
    });

    it('makes routes of IPv6, of other tables and without gateway', async () => {
      await given().done(...vtep, { do: 'route-replace', route: route({ table: TABLE_HOSTS, metric: 0 }) });
      const six = { destination: prefix('fd01:b:0:0:1::/80'), gateway: ip('fd01:a::2'), metric: 5 };
      await given().done({ do: 'route-replace', route: route(six) });
      const direct = { destination: prefix('9.0.9.0/24'), gateway: undefined, onlink: false, table: 1000 };
      await given().done({ do: 'route-replace', route: route(direct) });
      expect(await given().kernel.routes({ table: TABLE_HOSTS })).toEqual([
        route({ table: TABLE_HOSTS, metric: 0 }),
      ]);
      expect(await given().kernel.routes({ table: 1000 })).toEqual([route(direct)]);
      expect((await ourRoutes(given().kernel))[2]).toBe('fd01:b:0:0:1::/80 fd01:a::2');
      expect(await given().kernel.routes({ table: 4711 })).toEqual([]);
    });

    it('has the metric of IPv6 routes that were given none', async () => {
      const six = { destination: prefix('fd01:b:0:0:1::/80'), gateway: ip('fd01:a::2'), metric: 0 };
      await given().done(...vtep, { do: 'route-replace', route: route(six) });
      expect((await ours(given().kernel)).map(({ metric }) => metric)).toEqual([1024]);
      await given().done({ do: 'route-delete', route: route(six) });
      expect(await ours(given().kernel)).toEqual([]);
    });

    it('replaces the gateway of a route of the same metric', async () => {
      await given().done(...vtep, { do: 'route-replace', route: route() });
      await given().done({ do: 'route-replace', route: route({ gateway: ip('44.128.0.3') }) });
      await given().done({ do: 'route-replace', route: route({ gateway: ip('44.128.0.3') }) });
      expect(await ourRoutes(given().kernel)).toEqual(['9.0.1.0/24 44.128.0.3']);
    });

    it('makes a default route through a gateway that an address reaches', async () => {
      const change = { destination: prefix('0.0.0.0/0'), onlink: false, metric: 0 };
      await given().done(...vtep, { do: 'route-replace', route: route(change) });
      expect(await ours(given().kernel)).toEqual([route(change)]);
    });

    it('tells the default routes of both families and no others', async () => {
      expect(await given().kernel.defaultRoutes()).toEqual([]);
      const four = { destination: prefix('0.0.0.0/0'), onlink: false, metric: 7 };
      const six = { destination: prefix('::/0'), gateway: ip('fd01:a::2'), metric: 9 };
      const wanted = [route(), route({ ...four, table: TABLE_HOSTS }), route(four), route(six)];
      await given().done(...vtep, ...wanted.map((each) => ({ do: 'route-replace' as const, route: each })));
      const found = await given().kernel.defaultRoutes();
      expect(found.map(({ destination, metric }) => `${destination} ${metric}`)).toEqual([
        '0.0.0.0/0 7',
        '::/0 9',
      ]);
    });

    it('removes a route, and once more without failure', async () => {
      await given().done(...vtep, { do: 'route-replace', route: route() });
      await given().done({ do: 'route-delete', route: route() }, { do: 'route-delete', route: route() });
      await given().done({ do: 'route-delete', route: route({ link: 'none' }) });
      expect(await ours(given().kernel)).toEqual([]);
    });

    it('does not remove a route of another protocol', async () => {
      await given().done(...vtep, { do: 'route-replace', route: route({ protocol: 4 }) });
      await given().done({ do: 'route-delete', route: route() });
      expect(await given().kernel.routes({ protocol: 4 })).toHaveLength(1);
    });

    it('refuses a route over a link that is missing or down, and an unreachable gateway', async () => {
      expect(await given().refusal({ do: 'route-replace', route: route() })).toBe('ENODEV');
      await given().done(...vtep);
      const far = route({ gateway: ip('8.8.8.8'), onlink: false });
      expect(await given().refusal({ do: 'route-replace', route: far })).toBe('ENETUNREACH');
      const own = route({ gateway: ip('44.128.0.1') });
      expect(await given().refusal({ do: 'route-replace', route: own })).toBe('EINVAL');
      await given().done(set('vtep', { up: false }));
      expect(await given().refusal({ do: 'route-replace', route: route() })).toBe('ENETDOWN');
    });

    it('forgets routes when their link goes down or away', async () => {
      await given().done(...vtep, { do: 'route-replace', route: route() }, set('vtep', { up: false }));
      expect(await ours(given().kernel)).toEqual([]);
      await given().done(set('vtep', { up: true }), { do: 'route-replace', route: route() }, remove('vtep'));
      expect(await ours(given().kernel)).toEqual([]);
    });

    it('has the kernel’s own route for an address of a link that is up', async () => {
      await given().done(...vtep);
      const connected = (await given().kernel.routes({ table: TABLE_MAIN, protocol: 2 })).map(routeText);
      expect(connected).toContain('44.128.0.0/20 vtep undefined');
    });
  });

  describe('lists of operations', () => {
    it('goes on after a failure and says which operations failed, by command', async () => {
      const failures = await given().kernel.apply([
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
      expect(await ourRoutes(given().kernel)).toEqual(['9.0.1.0/24 44.128.0.2']);
      expect(await given().kernel.neighbours({ link: 'vtep' })).toHaveLength(1);
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
      await given().done(...vtep, ...remotes.flatMap(remote));
      expect(await ours(given().kernel)).toHaveLength(count);
      expect(await given().kernel.neighbours({ link: 'vtep' })).toHaveLength(count);
    });

    it('performs thousands, and says of each that was refused which one it was', async () => {
      const remote = (i: number): KernelOperation => {
        const change = { destination: prefix(`9.${1 + (i >> 8)}.${i & 255}.0/24`), metric: 1000 + i };
        // Of every seven one has a gateway that no address reaches.
        const far = i % 7 === 3 ? { gateway: ip('8.8.8.8'), onlink: false } : {};
        return { do: 'route-replace', route: route({ ...change, ...far }) };
      };
      const count = 3_000;
      const operations = Array.from({ length: count }, (_, i) => remote(i));
      const failures = await given().kernel.apply([...vtep, ...operations]);
      const refused = Array.from({ length: count }, (_, i) => i).filter((i) => i % 7 === 3);
      expect(failures.map(({ index }) => index)).toEqual(refused.map((i) => vtep.length + i));
      expect(failures.every(({ error }) => error.code === 'ENETUNREACH')).toBe(true);
      expect(failures.map(({ operation }) => operation)).toEqual(refused.map((i) => operations[i]));
      expect(await ours(given().kernel)).toHaveLength(count - refused.length);
    });

    it('has nothing to do for an empty list', async () => {
      expect(await given().kernel.apply([])).toEqual([]);
    });
  });
}

function routeText(value: Route): string {
  return `${String(value.destination)} ${String(value.link)} ${String(value.gateway)}`;
}
