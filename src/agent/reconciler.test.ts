import { describe, expect, it, onTestFinished } from 'vitest';
import { realClock, sleep } from '../base/clock.ts';
import { ip, prefix } from '../base/ip.ts';
import { memoryLog } from '../base/log.ts';
import { createMetrics } from '../base/metrics.ts';
import { FakeKernel } from '../kernel/fake.ts';
import { PROTOCOL_PORTOLAN } from '../kernel/types.ts';
import type { KernelOperation, Route } from '../kernel/types.ts';
import { attachmentOf, inputWith, nodeId } from '../overlay/arbitrary.ts';
import { CompileMemory } from '../overlay/compile-memory.ts';
import { compile, compileSliced } from '../overlay/compile.ts';
import type { CompileInput, DesiredState } from '../overlay/desired.ts';
import { attachmentAlias } from '../overlay/marks.ts';
import { TABLE_REF } from '../overlay/ruleset.ts';
import { drain } from '../overlay/slice.ts';
import type { Change } from '../overlay/step.ts';
import { createReconciler } from './reconciler.ts';
import type { Reconciler, RoundReport } from './reconciler.ts';

interface Bed {
  readonly kernel: FakeKernel;
  readonly reconciler: Reconciler;
  readonly log: ReturnType<typeof memoryLog>;
  readonly metrics: ReturnType<typeof createMetrics>;
  want(state: DesiredState | undefined): void;
}

/** A host in memory; the kernel makes the settings of devices by itself, so they are put in beforehand. */
async function makeBed(
  first: DesiredState | undefined,
  init: { readonly sweepMs?: number } = {},
): Promise<Bed> {
  const kernel = new FakeKernel();
  const log = memoryLog();
  const metrics = createMetrics();
  let desired = first;
  const reconciler = createReconciler(
    { kernel, clock: realClock, log, metrics },
    { desired: () => desired, ...init },
  );
  const want = (state: DesiredState | undefined): void => {
    desired = state;
    for (const { key } of state?.sysctls ?? []) if (!kernel.sysctls.has(key)) kernel.sysctls.set(key, '1');
  };
  want(first);
  await reconciler.start();
  onTestFinished(() => reconciler.stop());
  return { kernel, reconciler, log, metrics, want };
}

const settled = async (bed: Bed): Promise<Bed> => {
  await bed.reconciler.settle();
  return bed;
};
const ours = ({ kernel }: Bed): Promise<readonly Route[]> => kernel.routes({ protocol: PROTOCOL_PORTOLAN });
const changesOf = ({ performed }: RoundReport): readonly Change[] =>
  [...performed].map(({ change }) => change);
const small = (): DesiredState => compile(inputWith([2, 3]));
const writes = ({ kernel }: Bed): readonly string[] => kernel.performed.map(({ do: verb }) => verb);

describe('reconciler in memory', () => {
  it('writes nothing until there is a desired state', async () => {
    const bed = await makeBed(undefined);
    expect(await bed.reconciler.settle()).toMatchObject({ done: false, steps: 0 });
    expect(bed.kernel.performed).toEqual([]);
    expect(bed.kernel.nft.table(TABLE_REF)).toBeUndefined();
    bed.want(small());
    expect(await bed.reconciler.settle()).toMatchObject({ done: true, failures: [] });
    expect(bed.kernel.nft.table(TABLE_REF)).toBeDefined();
  });

  it('writes nothing when there is nothing to change', async () => {
    const bed = await settled(await makeBed(small()));
    const before = bed.kernel.performed.length;
    const generation = await bed.kernel.nft.generation();
    expect(await bed.reconciler.settle()).toMatchObject({ done: true, steps: 0 });
    expect(bed.kernel.performed).toHaveLength(before);
    expect(await bed.kernel.nft.generation()).toBe(generation);
  });

  it('repairs within moments what somebody else deletes, once, and says what', async () => {
    const bed = await settled(await makeBed(small()));
    const [route] = await bed.kernel.routes({ protocol: PROTOCOL_PORTOLAN });
    expect(bed.kernel.interfere([{ do: 'route-delete', route: route! }])).toEqual([]);
    await expect.poll(async () => (await ours(bed)).length).toBe(small().routes.length);
    await expect.poll(() => bed.reconciler.status().repairs).toBe(1);
    expect(bed.log.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        message: 'repaired what somebody else changed',
        fields: {
          object: 'route',
          count: 1,
          what: [expect.stringContaining('9.0.2.0/24 via 44.128.0.2 dev vtep1024 proto 225')],
          events: [expect.any(String)],
        },
      },
    ]);
    expect((await bed.metrics.snapshot())['portolan_repairs_total{object=route}']).toBe(1);
  });

  it('bounds what it says of a great loss', async () => {
    const bed = await settled(
      await makeBed(compile(inputWith(Array.from({ length: 200 }, (_, i) => i + 2)))),
    );
    bed.kernel.interfere([{ do: 'link-delete', name: 'vtep1024' }]);
    await expect.poll(() => bed.reconciler.status().repairs).toBeGreaterThan(1000);
    const lines = bed.log.lines.filter(({ level }) => level === 'warn');
    expect(lines.map(({ fields }) => fields['object'])).toEqual([
      'link',
      'sysctl',
      'address',
      'neighbour',
      'fdb',
      'route',
    ]);
    for (const { fields } of lines)
      expect((fields['what'] as readonly string[]).length).toBeLessThanOrEqual(5);
  });

  it('does not call a change of what is desired a repair', async () => {
    const bed = await settled(await makeBed(small()));
    bed.want(compile(inputWith([2, 3, 4], { removed: new Set([nodeId(2)]) })));
    const report = await bed.reconciler.settle();
    expect(report.steps).toBe(12);
    expect(report.repairs).toEqual({});
  });

  it('nor what goes with a tunnel that has to be another one, since the host has another address', async () => {
    const bed = await settled(await makeBed(small()));
    const underlay = { address: ip('10.0.0.111'), link: 'eth0', mtu: 1500 };
    bed.want(compile({ ...inputWith([2, 3]), underlay }));
    const report = await bed.reconciler.settle();
    expect(changesOf(report).map(({ object }) => object)).toEqual(
      expect.arrayContaining(['link', 'route', 'fdb']),
    );
    expect(bed.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
    expect(report.repairs).toEqual({});
  });

  it('replaces a flushed or edited table, and changes elements alone where only those differ', async () => {
    const bed = await settled(await makeBed(small()));
    bed.kernel.nft.flush();
    await expect.poll(() => bed.kernel.nft.table(TABLE_REF)).toBeDefined();
    await bed.reconciler.settle();
    bed.kernel.nft.disturb(TABLE_REF);
    expect(changesOf(await bed.reconciler.settle()).map(({ was }) => was)).toEqual(['other rules']);
    bed.want(compile(inputWith([2, 3], { attachments: [attachmentOf(1)] })));
    expect(changesOf(await bed.reconciler.settle()).map(({ was }) => was)).toEqual([
      'elements portMap4 +1 -0',
    ]);
  });

  it('looks again when an attachment changes the same elements at the same moment', async () => {
    const bed = await settled(await makeBed(small()));
    bed.kernel.nft.failNext('nft-change', 'EEXIST');
    bed.want(compile(inputWith([2, 3], { attachments: [attachmentOf(1)] })));
    expect(await bed.reconciler.settle()).toMatchObject({ failures: [] });
    expect(bed.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('goes on after a failure, blames the overlay, and is well again when it passes', async () => {
    const bed = await makeBed(undefined);
    bed.want(small());
    bed.kernel.failNext('address-replace', 'EINVAL', 3);
    const report = await bed.reconciler.settle();
    expect(report.failures.length).toBeGreaterThan(0);
    expect(report.overlays.get('dcos')).toMatchObject({ ok: false });
    expect((await ours(bed)).length).toBe(small().routes.length);
    const healed = await bed.reconciler.settle();
    expect(healed.overlays.get('dcos')).toEqual({ ok: true, error: undefined });
    expect(healed.repairs).toEqual({});
    expect(bed.log.lines.at(-1)?.message).toBe('kernel is as desired again');
  });

  it('fails no overlay for the sake of one remote node', async () => {
    const bed = await makeBed(undefined);
    bed.want(small());
    bed.kernel.failNext('fdb-replace', 'ENOSPC');
    const report = await bed.reconciler.settle();
    expect(report.failures).toHaveLength(1);
    expect([...report.overlays.values()].every(({ ok }) => ok)).toBe(true);
  });

  it('carries IPv4 overlays on a host without IPv6, and says what fails there', async () => {
    const bed = await makeBed(undefined);
    bed.want(small());
    for (const key of [...bed.kernel.sysctls.keys()])
      if (key.includes('/ipv6/')) bed.kernel.sysctls.delete(key);
    const { overlays } = await bed.reconciler.settle();
    expect(overlays.get('dcos')).toEqual({ ok: true, error: undefined });
    expect(overlays.get('dcos6')?.error).toContain('net/ipv6/conf/all/forwarding');
  });

  it('survives a kernel that cannot be read, and says so', async () => {
    const bed = await settled(await makeBed(small()));
    bed.kernel.failNext('read', 'ENOBUFS');
    expect(await bed.reconciler.settle()).toMatchObject({ done: false });
    expect(bed.log.lines.at(-1)).toMatchObject({ level: 'error' });
    expect(await bed.reconciler.settle()).toMatchObject({ done: true, steps: 0 });
  });

  it('gives all callers of one moment the same round, and a later caller a later one', async () => {
    const bed = await makeBed(small());
    const reports = await Promise.all([
      bed.reconciler.settle(),
      bed.reconciler.settle(),
      bed.reconciler.settle(),
    ]);
    expect(new Set(reports).size).toBe(1);
    const before = bed.reconciler.status().rounds;
    await bed.reconciler.settle();
    expect(bed.reconciler.status().rounds).toBe(before + 1);
  });

  it('refuses to settle when it has stopped', async () => {
    const bed = await makeBed(small());
    await bed.reconciler.stop();
    await expect(bed.reconciler.settle()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('plans with the attachments of after the look, so that a new veth is never a stray', async () => {
    const bed = await settled(await makeBed(small()));
    const veth: KernelOperation = {
      do: 'link-add',
      name: 'pv1',
      link: { kind: 'veth', peer: { name: 'eth9' } },
      settings: { alias: attachmentAlias('c1', 'eth0'), master: 'm-dcos', up: true },
    };
    await bed.kernel.apply([veth]);
    await bed.reconciler.settle();
    // The attachment of a veth that was seen once comes to be known: it stays.
    bed.want(compile(inputWith([2, 3], { attachments: [attachmentOf(1)] })));
    await bed.reconciler.settle();
    expect(await bed.kernel.link('pv1')).toBeDefined();
    bed.want(small());
    await bed.reconciler.settle();
    await bed.reconciler.settle();
    expect(await bed.kernel.link('pv1')).toBeUndefined();
  });

  it('removes all that is ours and only that', async () => {
    const bed = await makeBed(undefined);
    const foreign: Route = {
      destination: prefix('10.9.0.0/16'),
      table: 254,
      protocol: 4,
      metric: 0,
      gateway: undefined,
      link: 'theirs',
      onlink: false,
    };
    bed.kernel.interfere([
      { do: 'link-add', name: 'theirs', link: { kind: 'bridge' }, settings: { up: true } },
      { do: 'route-replace', route: foreign },
    ]);
    const rules = await bed.kernel.rules();
    bed.want(small());
    await bed.reconciler.settle();
    const report = await bed.reconciler.removeAll();
    expect(report).toMatchObject({ failures: [], faults: [] });
    expect((await bed.kernel.links()).map(({ name }) => name)).toEqual(['lo', 'theirs']);
    expect(await bed.kernel.routes({ protocol: 4 })).toEqual([foreign]);
    expect(await ours(bed)).toEqual([]);
    expect(await bed.kernel.rules()).toEqual(rules);
    expect(bed.kernel.nft.table(TABLE_REF)).toBeUndefined();
  });

  describe('while nobody else has touched the kernel', () => {
    const memory = new CompileMemory();
    const of = (others: readonly number[]): DesiredState => drain(compileSliced(input(others), memory));
    const input = (others: readonly number[]): CompileInput => ({
      ...base,
      records: inputWith(others).records,
    });
    const base = inputWith([]);
    const cannotLook = ({ kernel }: Bed): void => kernel.failNext('read', 'ENOBUFS');

    it('brings about what remote nodes change without a look at it', async () => {
      const bed = await settled(await makeBed(of([2, 3])));
      const before = writes(bed).length;
      bed.want(of([2, 3, 4]));
      cannotLook(bed);
      expect(await bed.reconciler.confirm()).toMatchObject({
        done: true,
        steps: 6,
        repairs: {},
        failures: [],
      });
      expect(await bed.reconciler.confirm()).toMatchObject({ done: true, steps: 0 });
      expect(writes(bed).slice(before)).toHaveLength(6);
      // Whoever asks for a look gets one.
      expect(await bed.reconciler.settle()).toMatchObject({ done: false });
      expect(await bed.reconciler.settle()).toMatchObject({ done: true, steps: 0 });
    });

    it('looks when somebody else was heard, be it in that very moment', async () => {
      const bed = await settled(await makeBed(of([2, 3])));
      const [route] = await ours(bed);
      bed.kernel.interfere([{ do: 'route-delete', route: route! }]);
      bed.want(of([2, 3, 4]));
      expect(await bed.reconciler.confirm()).toMatchObject({ done: true, steps: 7, repairs: { route: 1 } });
      expect((await ours(bed)).length).toBe(of([2, 3, 4]).routes.length);
    });

    it('looks when what it does is refused, and when the host itself changes', async () => {
      const bed = await settled(await makeBed(of([2, 3])));
      bed.kernel.failNext('fdb-replace', 'ENOSPC');
      bed.want(of([2, 3, 4]));
      expect(await bed.reconciler.confirm()).toMatchObject({ done: true, steps: 1, failures: [] });
      expect(await bed.kernel.fdb({ link: 'vtep1024' })).toHaveLength(3);
      bed.want(drain(compileSliced({ ...input([2, 3, 4]), attachments: [attachmentOf(1)] }, memory)));
      cannotLook(bed);
      expect(await bed.reconciler.confirm()).toMatchObject({ done: false });
      expect(await bed.reconciler.confirm()).toMatchObject({ done: true, failures: [] });
    });

    it('looks all the same once in a while', async () => {
      const bed = await settled(await makeBed(of([2, 3]), { sweepMs: 1 }));
      await sleep(5);
      bed.kernel.nft.disturb(TABLE_REF);
      expect(changesOf(await bed.reconciler.confirm()).map(({ was }) => was)).toEqual(['other rules']);
    });
  });

  it('adds a joining node among a thousand by four messages', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => i + 2);
    const only4 = (others: readonly number[]): DesiredState => {
      const input = inputWith(others, { network: { ...inputWith([]).network, enable_ipv6: false } });
      return compile({ ...input, records: input.records.filter(({ record }) => record.overlay === 'dcos') });
    };
    const bed = await settled(await makeBed(only4(many)));
    const before = writes(bed).length;
    bed.want(only4([...many, 1500]));
    await bed.reconciler.settle();
    expect(writes(bed).slice(before)).toEqual([
      'neighbour-replace',
      'fdb-replace',
      'route-replace',
      'route-replace',
    ]);
    expect((await bed.kernel.neighbours()).some(({ address }) => address.equals(ip('44.128.5.220')))).toBe(
      true,
    );
  });
});
