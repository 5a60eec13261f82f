/** `lab up` killed at any moment: `lab down` leaves nothing, and another `lab up` mends it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { sleep } from '../../src/base/clock.ts';
import { requireLabState, writeLabState } from '../../src/lab/state.ts';
import { labStatus } from '../../src/lab/status.ts';
import { isRunning } from '../../src/runtime/process.ts';
import { TestLab } from '../support/lab.ts';
import { rootNetwork, tracesOf } from '../support/machine.ts';

let lab: TestLab | undefined;
afterEach(() => lab?.down());

/** Kills `lab up` after some time. What it had begun is what a crash leaves. */
async function upKilledAfter(name: string, ms: number): Promise<void> {
  const up = spawn(process.execPath, ['dist/main.js', 'lab', 'up', '--hosts', '2', '--lab', name], {
    stdio: 'ignore',
  });
  const ended = once(up, 'exit');
  await sleep(ms);
  up.kill('SIGKILL');
  await ended;
}

describe('lab up, killed', () => {
  it.each([250, 400, 600, 900, 1500, 2500])(
    'after %i ms, is ended by "lab down" without a trace',
    async (ms) => {
      lab = new TestLab('plbc');
      const before = rootNetwork();
      await upKilledAfter(lab.name, ms);
      await lab.down();
      expect(tracesOf(lab.name)).toEqual([]);
      expect(rootNetwork()).toEqual(before);
    },
  );

  it('half way, is mended by another "lab up"', async () => {
    lab = new TestLab('plbc');
    await upKilledAfter(lab.name, 500);
    await lab.up({ hosts: 2 });
    const { rows } = await labStatus(lab.name);
    expect(rows.map((row) => row.state)).toEqual(['ready', 'ready', 'ready']);
  });

  it('before it could record what it had started, is mended by another "lab up"', async () => {
    lab = new TestLab('plbc');
    await lab.up({ hosts: 1 });
    const state = await requireLabState(lab.name);
    await writeLabState({ ...state, processes: [] });
    await lab.up({ hosts: 1 });
    expect(state.processes.filter(isRunning)).toEqual([]);
    const { rows } = await labStatus(lab.name);
    expect(rows.map((row) => row.state)).toEqual(['ready', 'ready']);
  });
});
