import { describe, expect, it } from 'vitest';
import { createMetrics } from './metrics.ts';
import { macBytes, macFromBytes, parseMac } from './mac.ts';
import { randomBelow, seededRandom } from './random.ts';

describe('parseMac()', () => {
  it('gives the canonical form and its bytes back', () => {
    const mac = parseMac('70:B3:D5:80:00:01')!;
    expect(mac).toBe('70:b3:d5:80:00:01');
    expect(macFromBytes(macBytes(mac))).toBe(mac);
  });

  it('refuses other forms', () => {
    for (const text of [
      '',
      '70:b3:d5:80:00',
      '70-b3-d5-80-00-01',
      '70:b3:d5:80:00:0g',
      '70:b3:d5:80:00:01:02',
    ])
      expect(parseMac(text), text).toBeUndefined();
  });
});

describe('seededRandom()', () => {
  it('repeats itself for one seed and differs for another', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 20 },
        (
          (random) => () =>
            randomBelow(random, 1000)
        )(seededRandom(seed)),
      );
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });
});

describe('createMetrics()', () => {
  it('gives the same metric for the same name and exposes it', async () => {
    const metrics = createMetrics();
    metrics.counter('portolan_repairs_total', 'Repairs', ['object']).add(2, { object: 'route' });
    metrics.counter('portolan_repairs_total', 'Repairs', ['object']).add(1, { object: 'route' });
    metrics.gauge('portolan_nodes', 'Nodes').set(3);
    expect(await metrics.snapshot()).toMatchObject({
      'portolan_repairs_total{object=route}': 3,
      portolan_nodes: 3,
    });
    expect(await metrics.expose()).toContain('portolan_repairs_total{object="route"} 3');
  });
});
