/** Which shipped code a simulation runs: what it has shown stays shown as long as that is the same. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { rolldown } from 'rolldown';

/**
 * A short hash of the shipped modules that `entry` loads: of those in `folders` of `src`, a directory of compiled ones, which
 * have no comments.
 */
export async function hashOfShipped(entry: string, src: string, folders: readonly string[]): Promise<string> {
  const bundle = await rolldown({ input: entry, platform: 'node', external: /^[^./]/, logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'esm' });
  await bundle.close();
  const modules = output.flatMap((chunk) => (chunk.type === 'chunk' ? Object.keys(chunk.modules) : []));
  const shipped = modules
    .map((id) => relative(src, id))
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)))
    .sort();
  if (shipped.length === 0) throw new Error(`${entry} runs nothing of ${folders.join(', ')} in ${src}`);
  const hash = createHash('sha256');
  for (const path of shipped) hash.update(`${path}\n`).update(readFileSync(join(src, path)));
  return hash.digest('hex').slice(0, 12);
}
