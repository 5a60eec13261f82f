/** What is kept on disk of a native container, so that a restarted agent knows it. */
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { containerRequest } from '../model/container.ts';
import { interfaceAddressText } from '../model/text.ts';

const FILE = 'container.json';

export const containerRecord = z.strictObject({
  id: z.string(),
  name: z.string(),
  network: z.string(),
  request: containerRequest,
  createdMs: z.number(),
  /** The host's boot: a container does not outlive it. */
  boot: z.string(),
  netns: z.string(),
  /** The configuration it was attached with; DEL must see the same although the file may have changed. */
  conflist: z.json(),
  /** The cached result of ADD; absent = not attached, or released. */
  result: z.json().optional(),
  addresses: z.array(interfaceAddressText),
  /** Absent = not started: `run` is still at work, or crashed. */
  process: z.strictObject({ pid: z.int(), startTime: z.int() }).optional(),
});
export type ContainerRecord = z.infer<typeof containerRecord>;

/** Written beside and renamed, so that a crash leaves the old or the new one. */
export async function writeRecord(directory: string, record: ContainerRecord): Promise<void> {
  const path = join(directory, FILE);
  await writeFile(`${path}.new`, `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** `undefined` for a directory whose container was never written down. */
export async function readRecord(directory: string): Promise<ContainerRecord | undefined> {
  const text = await readFile(join(directory, FILE), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = containerRecord.safeParse(tryParse(text));
  return parsed.success ? parsed.data : undefined;
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export async function listDirectories(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
