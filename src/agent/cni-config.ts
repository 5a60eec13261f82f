/**
 * The files that make runtimes find us: one configuration list for each overlay, and the plug-in's executable.
 *
 * Invariants: a file is written whole or not at all, and only when it differs, because runtimes watch the directory;
 * a list is ours when it is named after its network and has only our plug-in, and only ours are changed or removed.
 * An operator's own list for an overlay takes the place of ours: with further plug-ins behind ours, or named so that it
 * sorts first, as containerd wants its network.
 */
import { copyFile, chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { PLUGIN_TYPE } from '../cni/config.ts';
import { renderConflist } from '../cni/conflist.ts';

export const CNI_BIN_DIR = '/opt/cni/bin';
const SUFFIX = '.conflist';

/** Makes the directory hold a list for each of `overlays`, and no others of ours. */
export async function syncConflists(
  components: { readonly log: Log },
  init: { readonly directory: string; readonly overlays: readonly string[] },
): Promise<void> {
  const { directory, overlays } = init;
  const log = components.log.child('cni-config');
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const present = await readLists(directory);
  const served = new Set(present.flatMap((file) => (isOperators(file) ? (file.list?.name ?? []) : [])));
  const wanted = overlays.filter((overlay) => !served.has(overlay));
  for (const file of present) {
    if (!isOurs(file) || wanted.includes(file.name)) continue;
    await rm(file.path, { force: true });
    log.info('removed a CNI configuration', { path: file.path });
  }
  for (const overlay of wanted)
    await writeList(log, {
      path: join(directory, `${overlay}${SUFFIX}`),
      text: renderConflist(overlay),
      present: present.find(({ name }) => name === overlay),
    });
}

interface ListFile {
  readonly path: string;
  /** Of the file, without suffix. */
  readonly name: string;
  readonly text: string;
  /** Absent when the text is no list. */
  readonly list: { readonly name: string; readonly types: readonly string[] } | undefined;
}

async function readLists(directory: string): Promise<readonly ListFile[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(SUFFIX));
  const files = await Promise.all(
    names.map(async (name): Promise<ListFile | undefined> => {
      const path = join(directory, name);
      const text = await textOf(path);
      return text === undefined
        ? undefined
        : { path, name: name.slice(0, -SUFFIX.length), text, list: parseList(text) };
    }),
  );
  return files.filter((file) => file !== undefined);
}

const conflist = z.looseObject({ name: z.string(), plugins: z.array(z.looseObject({ type: z.string() })) });

function parseList(text: string): ListFile['list'] {
  try {
    const { name, plugins } = conflist.parse(JSON.parse(text));
    return { name, types: plugins.map(({ type }) => type) };
  } catch {
    // Somebody else's, whatever it is.
    return undefined;
  }
}

function isOnlyOurPlugin({ list }: ListFile): boolean {
  return list?.types.length === 1 && list.types[0] === PLUGIN_TYPE;
}

function isOurs(file: ListFile): boolean {
  return isOnlyOurPlugin(file) && file.list?.name === file.name;
}

function isOperators(file: ListFile): boolean {
  return file.list?.types.includes(PLUGIN_TYPE) === true && !isOurs(file);
}

async function writeList(
  log: Log,
  file: { readonly path: string; readonly text: string; readonly present: ListFile | undefined },
): Promise<void> {
  const { path, text, present } = file;
  if (present?.text === text) return;
  if (present !== undefined && !isOnlyOurPlugin(present))
    throw new PortolanError('conflict', `Cannot write "${path}": a file of another owner is there`, {
      remedy: 'rename or remove it, or give the overlay another name',
    });
  await replaceFile(path, (temporary) => writeFile(temporary, text, { mode: 0o644 }));
  log.info('wrote a CNI configuration', { path });
}

/** Puts the executable where runtimes look for it. */
export async function installPlugin(source: string, directory: string = CNI_BIN_DIR): Promise<void> {
  const target = join(directory, PLUGIN_TYPE);
  const [wanted, present] = await Promise.all([readFile(source), readFile(target).catch(() => undefined)]);
  if (present !== undefined && wanted.equals(present)) return;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  await replaceFile(target, async (temporary) => {
    await copyFile(source, temporary);
    await chmod(temporary, 0o755);
  });
}

/** Hidden and without our suffix while it is written: no runtime reads half a file. */
async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(path, '..', `.${basename(path)}.${process.pid}.new`);
  try {
    await write(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
}
