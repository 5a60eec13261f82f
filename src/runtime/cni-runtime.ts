/**
 * The runtime's side of CNI: executes plug-ins as the specification (1.1, sections 2 to 4) says a runtime does.
 *
 * Portolan's own containers go through the same door as anybody's: what works here works for a runtime we did not write.
 */
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import type { PortMapping } from '../model/endpoint.ts';
import { lastLine, runCommand } from './command.ts';

/** Where distributions and people put plug-ins. */
export const defaultPluginDirectories = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'] as const;
/** The newest version this runtime speaks. */
const RUNTIME_VERSION = '1.1.0';
const PLUGIN_TIMEOUT_MS = 30_000;

const plugin = z.looseObject({
  type: z.string(),
  capabilities: z.record(z.string(), z.boolean()).optional(),
});
const conflist = z.looseObject({
  cniVersion: z.string(),
  cniVersions: z.array(z.string()).optional(),
  name: z.string(),
  plugins: z.array(plugin).min(1),
});
export type Conflist = z.infer<typeof conflist>;

/** What a runtime tells the plug-ins about one attachment. */
export interface Attachment {
  readonly containerId: string;
  readonly containerName: string;
  readonly netns: string;
  readonly ifname: string;
  readonly ports: readonly PortMapping[];
  readonly labels: Readonly<Record<string, string>>;
}

const addResult = z.looseObject({ ips: z.array(z.looseObject({ address: z.string() })).default([]) });
export type CniAddResult = z.infer<typeof addResult>;

/** Every list in the directory that can be read, by file name. A broken one is not ours to mend. */
export async function readConflists(directory: string): Promise<readonly Conflist[]> {
  const names = (await readdir(directory).catch((): string[] => [])).filter((name) =>
    name.endsWith('.conflist'),
  );
  const lists = await Promise.all(names.sort().map((name) => readConflist(join(directory, name))));
  return lists.filter((list) => list !== undefined);
}

async function readConflist(path: string): Promise<Conflist | undefined> {
  try {
    return conflist.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** The version both sides speak: the newest of `cniVersions`, else `cniVersion`. */
export function chooseVersion(list: Conflist): string {
  return list.cniVersions?.includes(RUNTIME_VERSION) === true ? RUNTIME_VERSION : list.cniVersion;
}

/** What one plug-in of the list reads on standard input: pure. */
export function pluginInput(
  list: Conflist,
  index: number,
  attachment: Attachment,
  prevResult: unknown,
): Readonly<Record<string, unknown>> {
  const { capabilities, ...own } = list.plugins[index] ?? { type: '', capabilities: {} };
  const mapsPorts = capabilities?.['portMappings'] === true && attachment.ports.length > 0;
  return {
    ...own,
    cniVersion: chooseVersion(list),
    name: list.name,
    args: { cni: { labels: pairs(attachment.labels) }, portolan: { owner: 'portolan' } },
    ...(mapsPorts ? { runtimeConfig: { portMappings: attachment.ports } } : {}),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}

function pairs(labels: Readonly<Record<string, string>>): readonly { key: string; value: string }[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value }));
}

export interface CniRuntimeInit {
  /** Environment of the plug-ins beyond the protocol's. */
  readonly env: Readonly<Record<string, string>>;
  /** Where plug-ins are looked for, in this order. */
  readonly pluginDirectories: readonly string[];
}

/** ADD through the whole list; resolves to the last plug-in's result. */
export async function cniAdd(
  list: Conflist,
  attachment: Attachment,
  init: CniRuntimeInit,
): Promise<CniAddResult> {
  let result: unknown;
  for (let i = 0; i < list.plugins.length; i++)
    result = JSON.parse(await call('ADD', list, i, attachment, result, init)) as unknown;
  return addResult.parse(result);
}

/** DEL through the list, last plug-in first. */
export async function cniDelete(
  list: Conflist,
  attachment: Attachment,
  prevResult: unknown,
  init: CniRuntimeInit,
): Promise<void> {
  for (let i = list.plugins.length - 1; i >= 0; i--) await call('DEL', list, i, attachment, prevResult, init);
}

async function call(
  command: 'ADD' | 'DEL',
  list: Conflist,
  index: number,
  attachment: Attachment,
  prevResult: unknown,
  init: CniRuntimeInit,
): Promise<string> {
  const type = list.plugins[index]?.type ?? '';
  const result = await runCommand([await findPlugin(type, init.pluginDirectories)], {
    input: JSON.stringify(pluginInput(list, index, attachment, prevResult)),
    timeoutMs: PLUGIN_TIMEOUT_MS,
    env: {
      ...init.env,
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.containerId,
      CNI_NETNS: attachment.netns,
      CNI_IFNAME: attachment.ifname,
      CNI_PATH: init.pluginDirectories.join(':'),
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=${attachment.containerName}`,
    },
  });
  if (result.status === 0) return result.stdout;
  throw pluginFailure(command, list.name, type, result.stdout, result.stderr);
}

async function findPlugin(type: string, directories: readonly string[]): Promise<string> {
  for (const directory of directories) {
    const path = join(directory, type);
    const found = await access(path).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  throw new PortolanError('unavailable', `Cannot find the CNI plug-in "${type}"`, {
    remedy: `put it into one of ${directories.join(', ')}`,
  });
}

const pluginError = z.object({
  code: z.int().optional(),
  msg: z.string(),
  details: z.string().optional(),
});
/** Codes of 100 and more are each plug-in's own: this is one of ours (cni/errors.ts). */
const OWN_PLUGIN = 'portolan-cni';
const ADDRESSES_EXHAUSTED = 104;

/** A failing plug-in says why as JSON on standard output (section 5 of the specification). */
function pluginFailure(
  command: string,
  network: string,
  type: string,
  stdout: string,
  stderr: string,
): PortolanError {
  const said = pluginError.safeParse(tryParse(stdout));
  const why = said.success ? said.data.msg : lastLine(stderr);
  const remedy = said.success ? said.data.details : undefined;
  const isExhausted = said.success && type === OWN_PLUGIN && said.data.code === ADDRESSES_EXHAUSTED;
  return new PortolanError(
    isExhausted ? 'exhausted' : 'unavailable',
    `Cannot ${command} the attachment to "${network}" by "${type}": ${why}`,
    remedy === undefined || remedy === '' ? {} : { remedy },
  );
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
