/**
 * The files that make runtimes find us: one configuration list for each overlay, and the plug-in's executable.
 *
 * Invariants: a file is written whole or not at all, and only when it differs, because runtimes watch the directory;
 * a list is ours when its only plug-in is of our type, and only ours are ever changed or removed.
 */
import { copyFile, chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { PLUGIN_TYPE } from '../cni/config.ts';
import { renderConflist } from '../cni/conflist.ts';

export const CNI_BIN_DIR = '/opt/cni/bin';
const SUFFIX = '.conflist';

/** Makes the directory hold exactly the lists of `overlays`, of ours. */
export async function syncConflists(
  components: { readonly log: Log },
  init: { readonly directory: string; readonly overlays: readonly string[] },
): Promise<void> {
  const { directory, overlays } = init;
  const log = components.log.child('cni-config');
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const wanted = new Map(overlays.map((overlay) => [`${overlay}${SUFFIX}`, renderConflist(overlay)]));
  for (const name of await readdir(directory)) {
    if (!name.endsWith(SUFFIX) || wanted.has(name) || !isOurs(await textOf(join(directory, name)))) continue;
    await rm(join(directory, name), { force: true });
    log.info('removed a CNI configuration', { path: join(directory, name) });
  }
  for (const [name, text] of wanted) await writeList(log, join(directory, name), text);
}

async function writeList(log: Log, path: string, text: string): Promise<void> {
  const present = await textOf(path);
  if (present === text) return;
  if (present !== undefined && !isOurs(present))
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

function isOurs(text: string | undefined): boolean {
  try {
    const list = JSON.parse(text ?? '') as { plugins?: readonly { type?: unknown }[] };
    return list.plugins?.length === 1 && list.plugins[0]?.type === PLUGIN_TYPE;
  } catch {
    // Not JSON: somebody else's, whatever it is.
    return false;
  }
}
