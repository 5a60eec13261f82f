/** What is kept on disk of a native container, so that a restarted agent knows it. */
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { portMapping } from '../model/endpoint.ts';
import { interfaceAddressText } from '../model/text.ts';

const FILE = 'container.json';

/** One interface of the container on one network. */
export const containerInterface = z.strictObject({
  network: z.string(),
  ifname: z.string(),
  ports: z.array(portMapping),
  /** The configuration it was attached with; DEL must see the same although the file may have changed. */
  conflist: z.json(),
  /** The cached result of ADD; absent = not attached, or released. */
  result: z.json().optional(),
  addresses: z.array(interfaceAddressText),
});
export type ContainerInterface = z.infer<typeof containerInterface>;

/** What runs in it, and what it may use. */
export const containerProgram = z.strictObject({
  argv: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  cwd: z.string(),
  /** Its root is a copy-on-write view of this directory. */
  lower: z.string(),
  /** Of the image that `lower` was unpacked from; absent = the host's own root. */
  image: z.string().optional(),
  user: z.strictObject({ uid: z.int(), gid: z.int(), groups: z.array(z.int()) }),
  limits: z.strictObject({ cpus: z.number(), mem_mib: z.number() }).optional(),
  mounts: z.array(z.strictObject({ source: z.string(), destination: z.string(), read_only: z.boolean() })),
  tty: z.boolean(),
  /** Of the host, besides those that every container has. */
  devices: z.array(z.strictObject({ path: z.string(), major: z.int(), minor: z.int() })).optional(),
});
export type ContainerProgram = z.infer<typeof containerProgram>;

export const containerRecord = z.strictObject({
  id: z.string(),
  name: z.string(),
  hostname: z.string(),
  /** Of whom it is; absent = somebody started it by hand. */
  task: z.string().optional(),
  program: containerProgram,
  labels: z.record(z.string(), z.string()),
  /** Removed by the agent soon after it has ended. */
  remove: z.boolean(),
  createdMs: z.number(),
  /** The host's boot: a container does not outlive it. */
  boot: z.string(),
  /** Absent = it is in the host's own network. */
  netns: z.string().optional(),
  interfaces: z.array(containerInterface),
  /** It has ended, and all it held is given back; its log is left. */
  released: z.boolean().optional(),
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
