import { describe, expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import { FakeKernel } from '../kernel/fake.ts';
import type { Neighbour } from '../kernel/types.ts';
import { nothingDesired } from '../overlay/desired.ts';
import { neighbourKind } from '../overlay/inventory.ts';
import { ConcatenatedSteps, ObjectSteps } from '../overlay/object-steps.ts';
import type { Change, Step, StepRun } from '../overlay/step.ts';
import { perform } from './perform.ts';
import { TableMemory } from './table-memory.ts';

const KEY = 'net/ipv4/ip_forward';

function neighbour(number: number, link = 'v'): Neighbour {
  return { link, address: ip(`44.128.0.${number}`), mac: '02:00:00:00:00:01' as Mac, permanent: true };
}

function making(...values: readonly Neighbour[]): StepRun {
  const kind = {
    object: 'neighbour',
    kind: neighbourKind,
    make: (value: Neighbour) => ({ do: 'neighbour-replace', neighbour: value }) as const,
    remove: (value: Neighbour) => ({ do: 'neighbour-delete', neighbour: value }) as const,
  } as const;
  return new ObjectSteps(kind, { action: 'make', values });
}

function setting(value: string): Step {
  const what = `${KEY} = ${value}`;
  const change: Change = {
    object: 'sysctl',
    id: KEY,
    action: 'correct',
    what,
    was: undefined,
    link: undefined,
  };
  return { do: 'sysctl', key: KEY, value, change };
}

async function performed(...runs: readonly StepRun[]): Promise<{ kernel: FakeKernel; told: unknown }> {
  const kernel = new FakeKernel();
  kernel.sysctls.set(KEY, '0');
  await kernel.apply([{ do: 'link-add', name: 'v', link: { kind: 'bridge' }, settings: { up: true } }]);
  kernel.failNext('sysctl', 'EACCES');
  const table = new TableMemory({ nft: kernel.nft });
  const components = { kernel, table, sysctls: undefined };
  const { steps, failures } = await perform(components, nothingDesired, new ConcatenatedSteps(runs));
  return { kernel, told: { steps, failed: failures.map(({ change }) => change.what) } };
}

describe('perform', () => {
  it('says of each step that failed what it was for, and goes on with those behind it', async () => {
    const { kernel, told } = await performed(
      making(neighbour(1), neighbour(2, 'none')),
      [],
      making(neighbour(3)),
      [setting('1'), setting('2')],
      making(neighbour(4, 'none'), neighbour(5)),
    );
    expect(told).toEqual({
      steps: 7,
      failed: [
        neighbourKind.words(neighbour(2, 'none')),
        `${KEY} = 1`,
        neighbourKind.words(neighbour(4, 'none')),
      ],
    });
    expect((await kernel.neighbours()).map(({ address }) => String(address))).toEqual(
      [1, 3, 5].map((number) => `44.128.0.${number}`),
    );
    expect(await kernel.readSysctl(KEY)).toBe('2');
  });

  it('has nothing to do for no steps', async () => {
    expect((await performed([], making())).told).toEqual({ steps: 0, failed: [] });
  });
});
