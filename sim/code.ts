/** Which shipped code a simulation runs: what it has shown stays shown as long as that is the same. */
import { createHash } from 'node:crypto';
import { relative } from 'node:path';
import { rolldown } from 'rolldown';

/**
 * A short hash of what is used of the shipped modules (those under `src`, a directory of compiled ones) when `entry` runs.
 * Comments and what nothing uses do not count.
 */
export async function hashOfShipped(entry: string, src: string): Promise<string> {
  const bundle = await rolldown({ input: entry, platform: 'node', external: /^[^./]/, logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'esm', comments: false });
  await bundle.close();
  const hash = createHash('sha256');
  const modules = output.flatMap((chunk) => (chunk.type === 'chunk' ? Object.entries(chunk.modules) : []));
  const shipped = modules
    .map(([id, { code }]) => [relative(src, id), code ?? ''] as const)
    .filter(([path]) => !path.startsWith('..'))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (shipped.length === 0) throw new Error(`${entry} runs nothing of ${src}`);
  for (const [path, code] of shipped) hash.update(`${path}\n${code}\n`);
  return hash.digest('hex').slice(0, 12);
}
