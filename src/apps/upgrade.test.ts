import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { testApp } from './fake.ts';
import { capacityOf, scaleStep, upgradeStep, type Counted } from './upgrade.ts';

const counted = (change: Partial<Counted> & { readonly id: string }): Counted => ({
  ...{ condition: 'Running', isHealthy: true, isReady: true, isActive: true, isOccupying: true },
  ...{ isCurrent: false, createdAt: change.id, field: () => undefined },
  ...change,
});
const webOf = (instances: number, minimumHealthCapacity: number, maximumOverCapacity: number) =>
  testApp({ id: '/web', instances, upgradeStrategy: { minimumHealthCapacity, maximumOverCapacity } });

/** What is done turn by turn when every new one becomes healthy and every killed one ends before the next turn. */
function transcript(app: ReturnType<typeof testApp>, old: readonly Partial<Counted>[]): string[] {
  let instances = old.map((each, i) => counted({ id: `old${i + 1}`, ...each }));
  const lines: string[] = [];
  for (let turn = 1; turn < 50; turn++) {
    const { kill, launch, done } = upgradeStep(app, instances);
    if (done) return [...lines, 'done'];
    lines.push(
      [kill.length > 0 ? `kill ${kill.join(' ')}` : '', launch > 0 ? `start ${launch}` : '']
        .filter(Boolean)
        .join(', '),
    );
    const left = instances.filter(({ id }) => !kill.includes(id));
    const fresh = Array.from({ length: launch }, (_, i) =>
      counted({ id: `new${turn}.${i}`, isCurrent: true }),
    );
    const grown = left.map((each) => (each.isCurrent ? { ...each, isHealthy: true, isReady: true } : each));
    instances = [...grown, ...fresh];
  }
  return [...lines, 'stands still'];
}

describe('upgradeStep(), as the reference says', () => {
  it('min 1, over 1, n=4: 4 new started beside 4 old', () => {
    expect(transcript(webOf(4, 1, 1), [{}, {}, {}, {}])).toEqual([
      'start 4',
      'kill old4 old3 old2 old1',
      'done',
    ]);
  });

  it('min 0.5, over 0, n=4: 2 killed first, then as new ones are healthy', () => {
    expect(transcript(webOf(4, 0.5, 0), [{}, {}, {}, {}])).toEqual([
      'kill old4 old3',
      'start 2',
      'kill old2 old1',
      'start 2',
      'done',
    ]);
  });

  it('min 1, over 0: one more than allowed, since nothing could be done otherwise', () => {
    expect(transcript(webOf(2, 1, 0), [{}, {}])).toEqual([
      'start 1',
      'kill old2',
      'start 1',
      'kill old1',
      'done',
    ]);
  });

  it('min 0: all killed at once', () => {
    expect(transcript(webOf(3, 0, 0), [{}, {}, {}])).toEqual(['kill old3 old2 old1', 'start 3', 'done']);
  });

  it('resident with min 1, over 0: one fewer instead', () => {
    const resident = { relaunchEscalationTimeoutSeconds: 1, taskLostBehavior: 'WAIT_FOREVER' };
    expect(transcript({ ...webOf(2, 1, 0), residency: resident }, [{}, {}])).toEqual([
      'kill old2',
      'start 1',
      'kill old1',
      'start 1',
      'done',
    ]);
  });

  it('more than wanted at the start: at least the surplus is killed, unhealthy ones first', () => {
    const sick = { isHealthy: false, isReady: false };
    const [first] = transcript(webOf(2, 1, 0.5), [{}, sick, {}, sick]);
    expect(first).toBe('kill old4 old2');
  });

  it('all old ones unhealthy and no room: goes on all the same', () => {
    const sick = { isHealthy: false, isReady: false };
    expect(transcript(webOf(2, 1, 0), [sick, sick]).at(-1)).toBe('done');
  });

  it('waits for readiness, and never ends on its own while the new ones are broken', () => {
    const instances = [counted({ id: 'old' }), counted({ id: 'new', isCurrent: true, isReady: false })];
    expect(upgradeStep(webOf(1, 1, 1), instances)).toEqual({ kill: [], launch: 0, done: false });
  });
});

const anyInstance = fc
  .record({
    isCurrent: fc.boolean(),
    isHealthy: fc.boolean(),
    isReady: fc.boolean(),
    isActive: fc.boolean(),
    isOccupying: fc.boolean(),
  })
  .map((each) => ({
    ...each,
    isReady: each.isReady && each.isHealthy,
    isOccupying: each.isOccupying || each.isActive,
    condition: each.isHealthy ? ('Running' as const) : ('Staging' as const),
  }));
const anySituation = fc.record({
  n: fc.integer({ min: 1, max: 8 }),
  min: fc.constantFrom(0, 0.25, 0.5, 0.75, 1),
  over: fc.constantFrom(0, 0.1, 0.25, 0.5, 1),
  instances: fc.array(anyInstance, { maxLength: 16 }),
});

describe('capacities', () => {
  it('are rounded as the reference rounds them', () => {
    expect(capacityOf(webOf(10, 0.25, 0.1), 0)).toMatchObject({ minHealthy: 3, maxCapacity: 11 });
    expect(capacityOf(webOf(4, 1, 0), 4)).toMatchObject({ minHealthy: 4, maxCapacity: 5 });
    expect(capacityOf(webOf(4, 1, 0), 3)).toMatchObject({ minHealthy: 4, maxCapacity: 4 });
  });

  it('are never violated, whatever there is', () => {
    fc.assert(
      fc.property(anySituation, ({ n, min, over, instances }) => {
        const app = webOf(n, min, over);
        const all = instances.map((each, i) => counted({ id: `i${i}`, ...each }));
        const { kill, launch } = upgradeStep(app, all);
        const serves = (each: Counted): boolean =>
          each.isActive && (each.isCurrent ? each.isReady : each.isHealthy);
        const before = all.filter((each) => serves(each)).length;
        const after = all.filter((each) => serves(each) && !kill.includes(each.id)).length;
        const { minHealthy, maxCapacity } = capacityOf(app, before);
        expect(after).toBeGreaterThanOrEqual(Math.min(before, minHealthy));
        const held = all.filter((each) => each.isOccupying).length;
        expect(held + launch).toBeLessThanOrEqual(Math.max(held, maxCapacity));
        expect(new Set(kill).size).toBe(kill.length);
      }),
      { numRuns: 2_000 },
    );
  });

  it('let every upgrade come to its end, whatever it begins with', () => {
    fc.assert(
      fc.property(anySituation, ({ n, min, over, instances }) => {
        const ends = transcript(
          webOf(n, min, over),
          instances.filter((each) => each.isActive),
        );
        expect(ends.at(-1)).toBe('done');
      }),
      { numRuns: 500 },
    );
  });
});

describe('scaleStep()', () => {
  const app = webOf(2, 1, 1);
  const kills = (change: Parameters<typeof testApp>[0], instances: readonly Counted[]) =>
    scaleStep({ ...app, ...change }, instances).kill;

  it('launches what is missing, and is done when all are ready', () => {
    expect(scaleStep(app, [counted({ id: 'a' })])).toEqual({ kill: [], launch: 1, done: false });
    expect(scaleStep(app, [counted({ id: 'a' }), counted({ id: 'b' })])).toMatchObject({ done: true });
  });

  it('kills lost ones first, then those that do not run yet, then the youngest or the oldest', () => {
    const instances = [
      counted({ id: '1' }),
      counted({ id: '2', condition: 'Unreachable' }),
      counted({ id: '3', condition: 'Starting' }),
      counted({ id: '4', condition: 'Staging' }),
      counted({ id: '5' }),
    ];
    expect(kills({ id: '/web', instances: 1 }, instances)).toEqual(['2', '4', '3', '5']);
    expect(kills({ id: '/web', instances: 1, killSelection: 'OLDEST_FIRST' }, instances).at(-1)).toBe('1');
  });

  it('keeps the balance that GROUP_BY made', () => {
    const at = (id: string, zone: string) => counted({ id, field: () => zone });
    const instances = [at('1', 'a'), at('2', 'a'), at('3', 'a'), at('4', 'b'), at('5', 'b'), at('6', 'c')];
    const chosen = kills({ id: '/web', instances: 3, constraints: [['@zone', 'GROUP_BY']] }, instances);
    expect(chosen).toEqual(['3', '5', '2']);
  });

  it('counts those that are being killed already as gone, and waits for their end', () => {
    const ending = counted({ id: '3', isActive: false });
    const verdict = scaleStep(app, [counted({ id: '1' }), counted({ id: '2' }), ending]);
    expect(verdict).toEqual({ kill: [], launch: 0, done: false });
  });
});
