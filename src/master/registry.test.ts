import { describe, expect, test } from 'vitest';
import { defaultNetwork } from '../model/config.ts';
import { agentNetworkConfig } from '../model/overlay.ts';
import type { UpdateAgentOverlays } from '../model/registration.ts';
import { node, openRegistry, registration, turnsUntil } from './fake.ts';

const subnets = (update: UpdateAgentOverlays) =>
  update.overlays.map(({ subnet, subnet6 }) => subnet ?? subnet6);
const dcosOnly = { ...defaultNetwork, overlays: defaultNetwork.overlays.slice(0, 1) };

describe('registration', () => {
  test('answers a grant that is in the store', async () => {
    const { registry, disk, cluster } = await openRegistry();
    const id = node();
    const update = await registry.register(registration(id, '10.0.0.11'));
    expect(update).toMatchObject({ cluster, grant_epoch: 1, contacts: ['10.0.0.1:62501'] });
    expect(subnets(update)).toEqual(['9.0.0.0/24', 'fd01:b::/80']);
    const stored = disk.entries.get(`nodes/${id}`);
    expect(stored?.value).toContain('9.0.0.0/24');
    expect(disk.entries.get('cluster/epoch')?.value).toBe('{"epoch":1}');
  });

  test('answers the same node the same grant and stores what changed about it', async () => {
    const { registry, disk } = await openRegistry();
    const id = node();
    const first = await registry.register(registration(id, '10.0.0.11'));
    const { revision } = disk;
    expect(await registry.register(registration(id, '10.0.0.11'))).toEqual(first);
    expect(disk.revision).toBe(revision);
    expect(await registry.register(registration(id, '10.0.0.12', { name: 'moved' }))).toEqual(first);
    expect(registry.ledger.node(id)).toMatchObject({ address: '10.0.0.12', name: 'moved', grant_epoch: 1 });
    expect(registry.ledger.withAddress('10.0.0.11')).toEqual([]);
  });

  test('gives a new identity at a known address a grant of its own, and keeps the old node and its block', async () => {
    const { registry } = await openRegistry();
    const [old, fresh] = [node(), node()];
    const before = await registry.register(registration(old, '10.0.0.11'));
    const after = await registry.register(registration(fresh, '10.0.0.11'));
    expect(subnets(after)).toEqual(['9.0.1.0/24', 'fd01:b:0:0:1::/80']);
    expect(after.grant_epoch).toBeGreaterThan(before.grant_epoch);
    expect(registry.ledger.node(old)).toMatchObject({ address: '10.0.0.11', superseded_by: fresh });
    expect(after.contacts).toEqual(['10.0.0.1:62501']);
    await registry.remove([fresh]);
    expect(registry.ledger.node(old)?.superseded_by).toBeUndefined();
  });

  test('shares commits among nodes that register at once, and gives each its own', async () => {
    const { registry, store } = await openRegistry();
    const before = store.commits;
    const updates = await Promise.all(
      Array.from({ length: 200 }, (_, i) => registry.register(registration(node(), `10.0.1.${i}`))),
    );
    expect(store.commits - before).toBeLessThanOrEqual(2);
    expect(new Set(updates.flatMap(subnets)).size).toBe(400);
    expect(updates.map(({ grant_epoch }) => grant_epoch)).toEqual(updates.map((_, i) => i + 1));
  });

  test('refuses a node of another cluster and says what to do', async () => {
    const { registry, cluster } = await openRegistry();
    const other = (cluster.slice(0, -1) + (cluster.endsWith('a') ? 'b' : 'a')) as typeof cluster;
    await expect(
      registry.register(registration(node(), '10.0.0.11', { cluster: other })),
    ).rejects.toMatchObject({
      code: 'forbidden',
      field: 'cluster',
      remedy: expect.stringContaining('masters') as string,
    });
    expect(registry.ledger.size).toBe(0);
  });

  test('refuses a new node when the VTEPs are used up, and counts it', async () => {
    const { registry, metrics } = await openRegistry({
      network: { ...dcosOnly, vtep_subnet: '44.128.0.0/30' },
    });
    for (const address of ['10.0.0.11', '10.0.0.12']) await registry.register(registration(node(), address));
    await expect(registry.register(registration(node(), '10.0.0.13'))).rejects.toMatchObject({
      code: 'exhausted',
      field: 'network.vtep_subnet',
    });
    const snapshot = await metrics.snapshot();
    expect(snapshot['overlay/master/ip_allocation_failures']).toBe(1);
    expect(snapshot['overlay/master/internal/register_agent_messages_dropped']).toBe(1);
  });

  test('leaves a full overlay out, gives the others, and counts it', async () => {
    const tight = { name: 'tight', subnet: '10.9.0.0/24', prefix: 24, enabled: true };
    const { registry, metrics } = await openRegistry({
      network: { ...dcosOnly, overlays: [...dcosOnly.overlays, tight] },
    });
    await registry.register(registration(node(), '10.0.0.11'));
    const second = node();
    expect(subnets(await registry.register(registration(second, '10.0.0.12')))).toEqual(['9.0.1.0/24']);
    expect((await metrics.snapshot())['overlay/master/subnet_allocation_failures']).toBe(1);
  });

  test('gives a gateway no subnet', async () => {
    const { registry } = await openRegistry();
    const network_config = agentNetworkConfig.parse({ allocate_subnet: false });
    const update = await registry.register(registration(node(), '10.0.0.1', { network_config }));
    expect(subnets(update)).toEqual([undefined, undefined]);
    expect(update.overlays[0]?.backend.vxlan.vtep_ip).toBe('44.128.0.1/20');
  });
});

describe('reports', () => {
  test('are acknowledged and shown, and gone after a restart', async () => {
    const { registry, disk } = await openRegistry();
    const id = node();
    const { overlays } = await registry.register(registration(id, '10.0.0.11'));
    const state = { status: 'STATUS_FAILED' as const, error: 'x'.repeat(2000) };
    const answer = registry.registered({ node: id, overlays: overlays.map((each) => ({ ...each, state })) });
    expect(answer).toEqual({ master: registry.instance });
    expect(registry.states(id).get('dcos')?.error).toHaveLength(1000);
    expect((await openRegistry({ disk })).registry.states(id).size).toBe(0);
  });

  test('of a node that is not registered are refused', async () => {
    const { registry } = await openRegistry();
    expect(() => registry.registered({ node: node(), overlays: [] })).toThrow('not registered');
  });
});

describe('removal', () => {
  test('gives the addresses back, bars the identity, and tells the cluster, with the revision', async () => {
    const { registry, published, disk } = await openRegistry();
    const [first, second, third] = [node(), node(), node()];
    for (const [i, id] of [first, second].entries())
      await registry.register(registration(id, `10.0.0.${11 + i}`));
    await registry.remove([first, first, third]);
    expect(published.get(`cluster/removed/${first}`)).toEqual({
      value: { node: first, grant_epoch: 1 },
      revision: disk.revision,
    });
    expect(disk.entries.has(`nodes/${first}`)).toBe(false);
    await expect(registry.register(registration(first, '10.0.0.11'))).rejects.toMatchObject({
      code: 'forbidden',
      details: { removed: true },
    });
    const next = await registry.register(registration(third, '10.0.0.11'));
    expect(subnets(next)).toEqual(['9.0.0.0/24', 'fd01:b::/80']);
    expect(next.overlays[0]?.backend.vxlan.vtep_ip).toBe('44.128.0.1/20');
    expect(next.grant_epoch).toBe(3);
  });

  test('of a node with several overlays gives its VTEP back once', async () => {
    const { registry } = await openRegistry();
    const ids = [node(), node(), node(), node()];
    for (const [i, id] of ids.entries()) await registry.register(registration(id, `10.0.0.${11 + i}`));
    await registry.remove(ids.slice(0, 2));
    const fresh = await Promise.all(
      [1, 2, 3].map((i) => registry.register(registration(node(), `10.0.1.${i}`))),
    );
    expect(fresh.map(({ overlays }) => overlays[0]?.backend.vxlan.vtep_ip)).toEqual([
      '44.128.0.1/20',
      '44.128.0.2/20',
      '44.128.0.5/20',
    ]);
  });

  test('is known again after a restart, and published again with its own revision', async () => {
    const { registry, disk, published } = await openRegistry();
    const id = node();
    await registry.register(registration(id, '10.0.0.11'));
    await registry.remove([id]);
    const again = await openRegistry({ disk });
    expect(again.published.get(`cluster/removed/${id}`)).toEqual(published.get(`cluster/removed/${id}`));
    await expect(again.registry.register(registration(id, '10.0.0.11'))).rejects.toThrow('was removed');
  });
});

describe('a restart', () => {
  test('recovers every node, and the next grant follows on', async () => {
    const { registry, disk, cluster } = await openRegistry();
    const ids = [node(), node(), node()];
    const before = await Promise.all(
      ids.map((id, i) => registry.register(registration(id, `10.0.0.${11 + i}`))),
    );
    const again = await openRegistry({ disk });
    expect(again.cluster).toBe(cluster);
    expect(again.registry.instance).not.toBe(registry.instance);
    const after = await Promise.all(
      ids.map((id, i) => again.registry.register(registration(id, `10.0.0.${11 + i}`))),
    );
    expect(after.map(({ overlays, grant_epoch }) => [overlays, grant_epoch])).toEqual(
      before.map(({ overlays, grant_epoch }) => [overlays, grant_epoch]),
    );
    expect(subnets(await again.registry.register(registration(node(), '10.0.0.99')))[0]).toBe('9.0.3.0/24');
  });

  test('with an added overlay gives it to a node that registers again, with a higher epoch', async () => {
    const { registry, disk } = await openRegistry({ network: dcosOnly });
    const id = node();
    await registry.register(registration(id, '10.0.0.11'));
    const again = await openRegistry({ disk });
    const update = await again.registry.register(registration(id, '10.0.0.11'));
    expect(subnets(update)).toEqual(['9.0.0.0/24', 'fd01:b::/80']);
    expect(update.grant_epoch).toBe(2);
  });

  test.each([
    ['without an overlay that has blocks', { ...defaultNetwork, overlays: defaultNetwork.overlays.slice(1) }],
    [
      'with another subnet for it',
      {
        ...defaultNetwork,
        overlays: [{ name: 'dcos', subnet: '10.0.0.0/8', prefix: 24, enabled: true }],
      },
    ],
    [
      'with another prefix for it',
      {
        ...defaultNetwork,
        overlays: [{ name: 'dcos', subnet: '9.0.0.0/8', prefix: 25, enabled: true }],
      },
    ],
  ])('%s is refused with overlay, nodes and remedy', async (_, network) => {
    const { registry, disk } = await openRegistry({ network: dcosOnly });
    await registry.register(registration(node(), '10.0.0.11'));
    await expect(openRegistry({ disk, network })).rejects.toMatchObject({
      code: 'invalid',
      field: 'network.overlays',
      message: expect.stringMatching(/overlay "dcos".*10\.0\.0\.11/) as string,
      remedy: expect.stringContaining('as it was') as string,
    });
  });

  test('publishes the network with a higher revision only when it changed', async () => {
    const first = await openRegistry({ network: dcosOnly });
    const same = await openRegistry({ network: dcosOnly, disk: first.disk });
    expect(same.published.get('cluster/network')).toEqual(first.published.get('cluster/network'));
    const changed = await openRegistry({ disk: first.disk });
    expect(changed.published.get('cluster/network')?.revision).toBeGreaterThan(
      first.published.get('cluster/network')?.revision ?? 0,
    );
    expect(changed.published.get('cluster/masters')?.value).toEqual({ masters: ['10.0.0.1:5050'] });
  });
});

describe('a commit that fails', () => {
  test('refuses all it carried, and the registry recovers what the store has', async () => {
    const { registry, store, log } = await openRegistry();
    const kept = node();
    await registry.register(registration(kept, '10.0.0.11'));
    store.failCommits(1);
    const lost = [node(), node()].map((id, i) => registry.register(registration(id, `10.0.0.${20 + i}`)));
    for (const each of lost) await expect(each).rejects.toMatchObject({ code: 'unavailable' });
    await turnsUntil(() => !registry.recovering);
    expect(registry.ledger.nodes().map((entry) => entry.node)).toEqual([kept]);
    expect(log.lines.map(({ message }) => message)).toContain('Recovered from the store');
    expect(subnets(await registry.register(registration(node(), '10.0.0.30')))[0]).toBe('9.0.1.0/24');
  });

  test('because another master wrote makes this one recover instead of mixing with it', async () => {
    const first = await openRegistry();
    const second = await openRegistry({ disk: first.disk });
    await second.registry.register(registration(node(), '10.0.0.11'));
    const stale = openRegistry({ disk: first.disk });
    const { registry, store } = await stale;
    // Somebody else's commit in between.
    await store.transact([], [{ do: 'put', key: 'cluster/epoch', value: '{"epoch":9}' }]);
    await expect(registry.register(registration(node(), '10.0.0.12'))).rejects.toMatchObject({
      code: 'unavailable',
    });
    await turnsUntil(() => !registry.recovering);
    expect((await registry.register(registration(node(), '10.0.0.12'))).grant_epoch).toBe(10);
  });
});

describe('overlays added through the API', () => {
  const extra = { name: 'extra', subnet: '10.64.0.0/16', prefix: 24, enabled: true };

  test('change the instance, so that agents register again and get a block', async () => {
    const { registry, disk, published } = await openRegistry();
    const id = node();
    await registry.register(registration(id, '10.0.0.11'));
    const { instance } = registry;
    await registry.addOverlay(extra);
    expect(registry.instance).not.toBe(instance);
    expect(subnets(await registry.register(registration(id, '10.0.0.11')))).toContain('10.64.0.0/24');
    expect(published.get('cluster/network')?.value).toMatchObject({ overlays: [{}, {}, extra] });
    expect((await openRegistry({ disk })).registry.network.overlays).toContainEqual(extra);
  });

  test('change no instance while they are not enabled: no grant has them', async () => {
    const { registry, published } = await openRegistry();
    const { instance } = registry;
    await registry.addOverlay({ ...extra, enabled: false });
    expect(published.get('cluster/network')?.value).toMatchObject({ overlays: [{}, {}, { name: 'extra' }] });
    await registry.removeOverlay('extra');
    expect(published.get('cluster/network')?.value).toMatchObject({ overlays: [{}, {}] });
    expect(registry.instance).toBe(instance);
    await registry.addOverlay(extra);
    await registry.removeOverlay('extra');
    expect(registry.instance).not.toBe(instance);
  });

  test('are checked like those of the file', async () => {
    const { registry } = await openRegistry();
    await expect(registry.addOverlay({ ...extra, subnet: '9.1.0.0/16' })).rejects.toThrow('9.0.0.0/8');
    await expect(registry.addOverlay({ ...extra, name: 'dcos' })).rejects.toThrow('another overlay');
    expect(registry.network.overlays).toHaveLength(2);
  });

  test('can be removed once no node holds a block, those of the file never', async () => {
    const { registry, disk } = await openRegistry();
    const id = node();
    await registry.addOverlay(extra);
    await registry.register(registration(id, '10.0.0.11'));
    await expect(registry.removeOverlay('extra')).rejects.toMatchObject({ code: 'conflict' });
    await registry.remove([id]);
    await registry.removeOverlay('extra');
    expect(disk.entries.has('networks/extra')).toBe(false);
    await expect(registry.removeOverlay('dcos')).rejects.toThrow('configuration file');
    await expect(registry.removeOverlay('none')).rejects.toMatchObject({ code: 'not-found' });
  });
});

test('five hundred random histories of many nodes leave no address with two holders', async () => {
  const { registry, disk } = await openRegistry({
    network: { ...defaultNetwork, vtep_subnet: '44.128.0.0/27' },
  });
  const ids = Array.from({ length: 40 }, node);
  let seed = 7;
  const chance = (bound: number) => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff) % bound;
  for (let i = 0; i < 500; i++) {
    const which = chance(ids.length);
    const id = ids[which] ?? node();
    const action =
      chance(4) === 0 ? registry.remove([id]) : registry.register(registration(id, `10.1.0.${which}`));
    await Promise.resolve(action).catch(() => undefined);
    if (registry.ledger.removal(id) !== undefined) ids[which] = node();
  }
  const held = registry.ledger
    .nodes()
    .flatMap(({ grant }) => [
      String(grant.vtepIp),
      ...grant.overlays.map(({ subnet, subnet6 }) => String(subnet ?? subnet6)),
    ]);
  expect(new Set(held).size).toBe(held.length);
  const again = await openRegistry({ disk, network: { ...defaultNetwork, vtep_subnet: '44.128.0.0/27' } });
  expect(again.registry.ledger.nodes()).toEqual(registry.ledger.nodes());
});
