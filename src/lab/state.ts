/** `lab.json`: what a lab is and which processes were started for it. */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { LAB_ROOT, labPaths } from './paths.ts';

const labProcess = z.strictObject({
  /** Absent for the lab's own proxy. */
  host: z.string().optional(),
  kind: z.enum(['master', 'agent', 'dockerd', 'proxy']),
  pid: z.int(),
  startTime: z.int(),
});
export type LabProcess = z.infer<typeof labProcess>;

const labHost = z.strictObject({
  name: z.string(),
  role: z.enum(['master', 'agent']),
  address: z.string(),
  /** False after `lab stop` or `lab kill`: it is meant to be down. */
  wanted: z.boolean(),
});
export type LabHost = z.infer<typeof labHost>;

const labState = z.strictObject({
  name: z.string(),
  docker: z.boolean(),
  hosts: z.array(labHost),
  processes: z.array(labProcess),
  /** Hosts cut off from the others. */
  partition: z.array(z.string()),
  /** Port of the API on 127.0.0.1. */
  apiPort: z.int().optional(),
});
export type LabState = z.infer<typeof labState>;

/** `undefined` when there is no such lab, or only what a crashed `lab up` left of it. */
export async function readLabState(lab: string): Promise<LabState | undefined> {
  const path = labPaths(lab).state;
  try {
    return labState.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new PortolanError('corrupt', `Cannot read "${path}"`, {
      remedy: `run "portolan lab down --lab ${lab}" and start anew`,
      cause: error,
    });
  }
}

export async function requireLabState(lab: string): Promise<LabState> {
  const state = await readLabState(lab);
  if (state !== undefined) return state;
  const others = await listLabs();
  throw new PortolanError('not-found', `Cannot find lab "${lab}"`, {
    field: '--lab',
    remedy: others.length === 0 ? 'start one with "portolan lab up"' : `choose one of ${others.join(', ')}`,
  });
}

/** Written beside and renamed, so that a reader never sees half of it. */
export async function writeLabState(state: LabState): Promise<void> {
  const path = labPaths(state.name).state;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
  await rename(`${path}.new`, path);
}

export async function listLabs(): Promise<readonly string[]> {
  const entries = await readdir(LAB_ROOT, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
