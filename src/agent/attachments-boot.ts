/**
 * Which boot of the host this is.
 *
 * The run directory lies in memory, so a marker there is gone after a reboot, and with it every namespace and device.
 * The kernel's own boot id would not do for hosts that are only namespaces (the lab).
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '../base/random.ts';

export async function readBootId(components: { readonly random: Random }, runDir: string): Promise<string> {
  const path = join(runDir, 'boot-id');
  const known = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  if (/^[0-9a-f]{32}\n$/.test(known)) return known.trim();
  const fresh = Buffer.from(components.random.bytes(16)).toString('hex');
  await mkdir(runDir, { recursive: true });
  await writeFile(`${path}.new`, `${fresh}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return fresh;
}
