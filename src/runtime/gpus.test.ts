import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hostGpus } from './gpus.ts';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plrt-gpus-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

it('GPUs are the devices of their names, in the order of their numbers', async () => {
  for (const name of ['nvidia10', 'nvidia2', 'nvidia-uvm', 'nvidiactl'])
    await symlink('/dev/null', join(directory, name));
  for (const name of ['nvidia3', 'nvidia-caps', 'nvidiafb', 'sda'])
    await writeFile(join(directory, name), '');
  const device = (name: string) => ({ path: `/dev/${name}`, major: 1, minor: 3 });
  expect(await hostGpus(directory)).toEqual({
    gpus: [device('nvidia2'), device('nvidia10')],
    control: [device('nvidia-uvm'), device('nvidiactl')],
  });
});

it('there are none without a driver', async () => {
  expect(await hostGpus(join(directory, 'nowhere'))).toEqual({ gpus: [], control: [] });
});
