/** Cases of addresses, neighbours, forwarding entries and rules. */
import { describe, expect, it } from 'vitest';
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { mac, bridge, add, remove, address, neighbour, fdb, vtep, type Case } from './samples-contract.ts';
import { PROTOCOL_PORTOLAN, TABLE_HOSTS, type KernelOperation, type Rule } from './types.ts';

/** `given` is the case at hand. */
export function objectCases(given: () => Case): void {
  describe('addresses', () => {
    const of = async (link: string): Promise<string[]> =>
      (await given().kernel.addresses({ link })).map((held) => String(held.address)).sort();

    it('adds addresses of both families, twice without failure', async () => {
      await given().done(add('br', bridge));
      for (let round = 0; round < 2; round++)
        await given().done(address('br', '9.0.1.1/25'), address('br', 'fd01:b::1/80'));
      expect(await of('br')).toEqual(['9.0.1.1/25', 'fd01:b::1/80']);
    });

    it('removes them, and once more without failure', async () => {
      await given().done(add('br', bridge), address('br', '9.0.1.1/25'));
      const gone = interfaceAddress('9.0.1.1/25');
      for (let round = 0; round < 2; round++)
        await given().done({ do: 'address-delete', address: { link: 'br', address: gone } });
      await given().done({ do: 'address-delete', address: { link: 'none', address: gone } });
      expect(await of('br')).toEqual([]);
    });

    it('refuses a link that is not there, and has no addresses of one', async () => {
      expect(await given().refusal(address('none', '9.0.1.1/25'))).toBe('ENODEV');
      expect(await given().kernel.addresses({ link: 'none' })).toEqual([]);
    });

    it('forgets those of a deleted link', async () => {
      await given().done(add('br', bridge), address('br', '9.0.1.1/25'), remove('br'), add('br', bridge));
      expect(await of('br')).toEqual([]);
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
      (await given().kernel.rules()).filter(({ protocol }) => protocol === PROTOCOL_PORTOLAN);

    it('has the kernel’s own at first', async () => {
      const texts = (await given().kernel.rules()).map(
        ({ family, priority, table }) => `${family} ${priority} ${table}`,
      );
      expect(texts).toEqual(['4 0 255', '4 32766 254', '4 32767 253', '6 0 255', '6 32766 254']);
    });

    it('adds rules of both families, twice without failure', async () => {
      const six: Rule = { ...rule, family: 6, from: undefined, to: prefix('fd01:b::/64'), table: 1000 };
      for (let round = 0; round < 2; round++)
        await given().done({ do: 'rule-add', rule }, { do: 'rule-add', rule: six });
      expect(await ourRules()).toEqual([rule, six]);
    });

    it('removes a rule, and once more without failure', async () => {
      await given().done({ do: 'rule-add', rule });
      await given().done({ do: 'rule-delete', rule }, { do: 'rule-delete', rule });
      expect(await ourRules()).toEqual([]);
    });
  });

  describe('neighbours and forwarding entries', () => {
    it('makes them and gives them back', async () => {
      const six = neighbour({ address: ip('fd01:a::2') });
      await given().done(
        ...vtep,
        { do: 'neighbour-replace', neighbour: neighbour() },
        { do: 'neighbour-replace', neighbour: six },
        { do: 'fdb-replace', entry: fdb() },
      );
      expect(await given().kernel.neighbours({ link: 'vtep' })).toEqual([neighbour(), six]);
      expect(await given().kernel.neighbours({ link: 'none' })).toEqual([]);
      expect(await given().kernel.fdb({ link: 'vtep' })).toEqual([fdb()]);
      expect(await given().kernel.fdb({ link: 'none' })).toEqual([]);
    });

    it('replaces the MAC of a neighbour and the destination of an entry', async () => {
      await given().done(
        ...vtep,
        { do: 'neighbour-replace', neighbour: neighbour() },
        { do: 'fdb-replace', entry: fdb() },
      );
      for (let round = 0; round < 2; round++)
        await given().done(
          { do: 'neighbour-replace', neighbour: neighbour({ mac: mac(3) }) },
          { do: 'fdb-replace', entry: fdb({ destination: ip('10.0.0.3') }) },
        );
      expect(await given().kernel.neighbours({ link: 'vtep' })).toEqual([neighbour({ mac: mac(3) })]);
      expect(await given().kernel.fdb({ link: 'vtep' })).toEqual([fdb({ destination: ip('10.0.0.3') })]);
    });

    it('removes them, and once more without failure', async () => {
      await given().done(
        ...vtep,
        { do: 'neighbour-replace', neighbour: neighbour() },
        { do: 'fdb-replace', entry: fdb() },
      );
      for (let round = 0; round < 2; round++)
        await given().done(
          { do: 'neighbour-delete', neighbour: neighbour() },
          { do: 'fdb-delete', entry: fdb() },
          { do: 'neighbour-delete', neighbour: neighbour({ link: 'none' }) },
          { do: 'fdb-delete', entry: fdb({ link: 'none' }) },
        );
      expect(await given().kernel.neighbours({ link: 'vtep' })).toEqual([]);
      expect(await given().kernel.fdb({ link: 'vtep' })).toEqual([]);
    });

    it('takes operations as they come, and says which of them failed', async () => {
      await given().done(add('br', bridge));
      function* operations(): Generator<KernelOperation, void> {
        yield { do: 'neighbour-replace', neighbour: neighbour({ link: 'none' }) };
        yield remove('br');
        yield* vtep;
        yield { do: 'fdb-replace', entry: fdb() };
        yield { do: 'fdb-replace', entry: fdb({ link: 'br' }) };
      }
      const failures = await given().kernel.apply(operations());
      expect(failures.map(({ index, error }) => [index, error.code])).toEqual([
        [0, 'ENODEV'],
        [3 + vtep.length, 'ENODEV'],
      ]);
      expect(await given().kernel.fdb({ link: 'vtep' })).toEqual([fdb()]);
    });

    it('refuses a link that is not there', async () => {
      expect(await given().refusal({ do: 'neighbour-replace', neighbour: neighbour() })).toBe('ENODEV');
      expect(await given().refusal({ do: 'fdb-replace', entry: fdb() })).toBe('ENODEV');
    });

    it('forgets them with their link', async () => {
      await given().done(
        ...vtep,
        { do: 'neighbour-replace', neighbour: neighbour() },
        { do: 'fdb-replace', entry: fdb() },
        remove('vtep'),
        ...vtep,
      );
      expect(await given().kernel.neighbours({ link: 'vtep' })).toEqual([]);
      expect(await given().kernel.fdb({ link: 'vtep' })).toEqual([]);
    });
  });
}
