/** Cases of links. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import { mac, bridge, vxlan, add, set, remove, address, type Case } from './samples-contract.ts';
import type { KernelOperation } from './types.ts';

/** `given` is the case at hand. */
export function linkCases(given: () => Case): void {
  describe('links', () => {
    it('has lo and nothing else at first', async () => {
      expect((await given().kernel.links()).map((link) => link.name)).toEqual(['lo']);
      expect(await given().kernel.link('none')).toBeUndefined();
    });

    it('makes a bridge with everything that can be asked of it', async () => {
      const settings = { up: true, mtu: 1400, mac: mac(9), alias: 'portolan m-dcos', group: 7 };
      await given().done(add('m-dcos', bridge, { ...settings, addAltName: 'portolan-dcos' }));
      expect(await given().kernel.link('m-dcos')).toMatchObject({
        ...settings,
        name: 'm-dcos',
        altNames: ['portolan-dcos'],
        master: undefined,
        details: { kind: 'bridge' },
      });
    });

    it('makes a VXLAN device', async () => {
      await given().done(add('vtep', vxlan, { up: true, mac: mac(1), mtu: 1450 }));
      const link = await given().kernel.link('vtep');
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
      await given().done(add('vtep6', { ...vxlan, local: ip('fd00::1'), learning: true }));
      expect((await given().kernel.link('vtep6'))?.details).toMatchObject({
        local: ip('fd00::1'),
        learning: true,
      });
    });

    it('makes a veth pair whose far end is in another namespace', async () => {
      const [path] = given().opened.namespaces;
      const peer = { name: 'eth0', mtu: 1400, mac: mac(5), namespacePath: path };
      await given().done(
        add('br', bridge),
        add('veth1', { kind: 'veth', peer }, { up: true, master: 'br', mtu: 1400 }),
      );
      expect(await given().kernel.link('veth1')).toMatchObject({
        master: 'br',
        up: true,
        details: { kind: 'veth' },
      });
      expect(await given().kernel.link('eth0')).toBeUndefined();
      const inside = await given().kernel.openNamespace(path);
      expect(await inside.link('eth0')).toMatchObject({ mtu: 1400, mac: mac(5), up: false });
      inside.close();
    });

    it('changes, renames and releases a link', async () => {
      await given().done(
        add('br', bridge),
        add('a', { kind: 'veth', peer: { name: 'b' } }, { master: 'br' }),
      );
      await given().done(
        set('a', { hairpin: true, mtu: 1300 }),
        set('a', { rename: 'c', alias: 'portolan x' }),
      );
      expect(await given().kernel.link('c')).toMatchObject({ mtu: 1300, alias: 'portolan x', master: 'br' });
      await given().done(set('c', { master: null }));
      expect((await given().kernel.link('c'))?.master).toBeUndefined();
      expect(await given().kernel.link('a')).toBeUndefined();
    });

    it('lists links with the names of their masters', async () => {
      await given().done(
        add('br', bridge),
        add('a', { kind: 'veth', peer: { name: 'b' } }, { master: 'br' }),
      );
      const masters = (await given().kernel.links())
        .map((link) => `${link.name} ${link.master ?? '-'}`)
        .sort();
      expect(masters).toEqual(['a br', 'b -', 'br -', 'lo -']);
    });

    it('adds an alternative name twice without failure, and no name that another link has', async () => {
      await given().done(add('br', bridge), add('br2', bridge));
      await given().done(set('br', { addAltName: 'other' }), set('br', { addAltName: 'other' }));
      expect(await given().refusal(set('br2', { addAltName: 'other' }))).toBe('EEXIST');
      expect((await given().kernel.link('other'))?.name).toBe('br');
    });

    it('refuses what cannot be', async () => {
      await given().done(add('br', bridge));
      expect(await given().refusal(add('br', bridge, { alias: 'portolan' }))).toBe('EEXIST');
      expect((await given().kernel.link('br'))?.alias).toBeUndefined();
      expect(await given().refusal(add('sixteen-letters!', bridge))).toBe('ERANGE');
      expect(await given().refusal(add('a', bridge, { master: 'none' }))).toBe('ENODEV');
      expect(await given().refusal(set('none', { up: true }))).toBe('ENODEV');
      expect(await given().refusal(set('br', { mtu: 10 }))).toBe('EINVAL');
      expect(await given().refusal(set('br', { rename: 'lo' }))).toBe('EEXIST');
      const lost = { name: 'eth0', namespacePath: '/nowhere/at-all' };
      expect(await given().refusal(add('a', { kind: 'veth', peer: lost }))).toBe('ENOENT');
      expect(await given().refusal(remove('lo'))).toBe('EOPNOTSUPP');
    });

    it('refuses a second device of the same VNI and port', async () => {
      await given().done(add('vtep', vxlan));
      expect(await given().refusal(add('vtep2', vxlan))).toBe('EEXIST');
    });

    it('moves a link into another namespace', async () => {
      const [path] = given().opened.namespaces;
      await given().done(add('a', { kind: 'veth', peer: { name: 'b' } }), address('b', '9.0.1.2/24'));
      await given().done({ do: 'link-move', name: 'b', namespacePath: path });
      expect(await given().kernel.link('b')).toBeUndefined();
      const inside = await given().kernel.openNamespace(path);
      expect((await inside.link('b'))?.details).toEqual({ kind: 'veth' });
      expect(await inside.addresses({ link: 'b' })).toEqual([]);
      inside.close();
    });

    it('deletes links, and once more without failure', async () => {
      await given().done(add('br', bridge));
      await given().done(remove('br'), remove('br'));
      expect(await given().kernel.link('br')).toBeUndefined();
    });

    it('takes a veth peer along', async () => {
      const [path] = given().opened.namespaces;
      await given().done(add('a', { kind: 'veth', peer: { name: 'b', namespacePath: path } }));
      await given().done(remove('a'));
      const inside = await given().kernel.openNamespace(path);
      expect(await inside.link('b')).toBeUndefined();
      inside.close();
    });

    it('makes links while others are waited for elsewhere, and says what it could not', async () => {
      const { kernel } = given();
      const [path] = given().opened.namespaces;
      await given().done(add('br', bridge), add('taken', bridge));
      const veth = (name: string, inside: string): KernelOperation =>
        add(
          name,
          { kind: 'veth', peer: { name: inside, namespacePath: path } },
          { master: 'br', alias: name },
        );
      const names = ['v0', 'v1', 'v2', 'taken', 'v3'];
      const outcomes = await Promise.all(
        names.map((name, i) => kernel.apply([veth(name, `e${i}`)], { elsewhere: true })),
      );
      expect(outcomes.map(([failure]) => failure?.error.code)).toEqual([
        ...[undefined, undefined, undefined],
        ...['EEXIST', undefined],
      ]);
      expect(await kernel.link('v3')).toMatchObject({ alias: 'v3', master: 'br' });
      const [nowhere] = await kernel.apply([add('v9', bridge, { master: 'none' })], { elsewhere: true });
      expect(nowhere?.error.code).toBe('ENODEV');
      const inside = await kernel.openNamespace(path);
      const few = [set('e0', { up: true }), address('none', '9.0.1.2/24')];
      const [refused] = await inside.apply(few, { elsewhere: true });
      expect([refused?.index, refused?.error.code]).toEqual([1, 'ENODEV']);
      expect((await inside.link('e0'))?.up).toBe(true);
      inside.close();
    });

    it('deletes many at once, enslaved ones and both ends of a pair among them', async () => {
      const names = Array.from({ length: 6 }, (_, i) => `v${i}`);
      await given().done(
        add('br', bridge),
        ...names.map((veth) => add(veth, { kind: 'veth', peer: { name: `${veth}p` } }, { master: 'br' })),
      );
      const results = await Promise.all(
        [...names, 'v0p', 'v1p', 'none'].map((veth) => given().kernel.apply([remove(veth)])),
      );
      expect(results.flat()).toEqual([]);
      expect((await given().kernel.links()).map((link) => link.name).sort()).toEqual(['br', 'lo']);
    });

    it('deletes one after another, whose names are free at once, beside a crowd', async () => {
      const { kernel } = given();
      const crowd = Array.from({ length: 30 }, (_, i) => `v${i}`);
      await given().done(
        ...crowd.map((veth) => add(veth, { kind: 'veth', peer: { name: `${veth}p` } })),
        add('a', { kind: 'veth', peer: { name: 'b' } }),
      );
      const crowdGone = Promise.all(
        crowd.map(async (veth, i) => {
          for (let turn = 0; turn < i; turn++) await nextTurn();
          return kernel.apply([remove(veth)]);
        }),
      );
      for (let i = 0; i < 10; i++)
        await given().done(remove('a'), add('a', { kind: 'veth', peer: { name: 'b' } }, { alias: `${i}` }));
      expect((await crowdGone).flat()).toEqual([]);
      expect((await kernel.links()).map((link) => link.name).sort()).toEqual(['a', 'b', 'lo']);
      expect(await kernel.link('a')).toMatchObject({ alias: '9', group: 0 });
    });

    it('never deletes what was made under the name of something that was not there', async () => {
      const { kernel } = given();
      const crowd = Array.from({ length: 12 }, (_, i) => `v${i}`);
      await given().done(...crowd.map((name) => add(name, bridge)));
      const crowdGone = crowd.map(async (name, i) => {
        for (let turn = 0; turn < i; turn++) await nextTurn();
        return kernel.apply([remove(name)]);
      });
      for (const name of crowd.map((each) => `${each}x`)) await given().done(remove(name), add(name, bridge));
      await Promise.all(crowdGone);
      await given().done(add('last', bridge), remove('last'));
      expect(await kernel.links()).toHaveLength(1 + crowd.length);
    });

    it('says which of many deletions failed', async () => {
      await given().done(add('br', bridge), add('br2', bridge));
      const failures = await given().kernel.apply([remove('br'), remove('lo'), remove('br2')]);
      expect(failures.map(({ index, error }) => `${index} ${error.code}`)).toEqual(['1 EOPNOTSUPP']);
      expect((await given().kernel.link('lo'))?.group).toBe(0);
      expect((await given().kernel.links()).map((link) => link.name)).toEqual(['lo']);
    });

    it('goes on with what follows a deletion, in order', async () => {
      await given().done(add('br', bridge, { alias: 'old' }));
      await given().done(remove('br'), add('br', bridge, { alias: 'new' }), address('br', '9.0.1.1/24'));
      expect((await given().kernel.link('br'))?.alias).toBe('new');
      expect(await given().kernel.addresses({ link: 'br' })).toHaveLength(1);
    });

    it('releases the ports of a deleted bridge', async () => {
      await given().done(
        add('br', bridge),
        add('a', { kind: 'veth', peer: { name: 'b' } }, { master: 'br' }),
      );
      await given().done(remove('br'));
      expect((await given().kernel.link('a'))?.master).toBeUndefined();
    });
  });
}
