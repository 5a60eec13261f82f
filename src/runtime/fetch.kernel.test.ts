/** A disk that is full, which only the kernel can make. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { mustRun } from './command.ts';
import { fetchUri } from './fetch.ts';
import { FetchCache } from './fetch-cache.ts';

it('a file that has no room in the sandbox is refused in words that say so', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'plb-full-'));
  const sandbox = join(directory, 'sandbox');
  const options = { timeoutMs: 10_000 };
  await mkdir(sandbox);
  await mustRun(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'plb-full', sandbox], options);
  try {
    await writeFile(join(directory, 'large'), Buffer.alloc(1024 * 1024));
    const uri = `file://${directory}/large`;
    const cache = new FetchCache({ root: join(sandbox, 'cache'), maxBytes: 1024 });
    const wish = { uri, extract: false, executable: false, cache: false };
    const { signal } = new AbortController();
    await expect(fetchUri(wish, sandbox, { cache, signal })).rejects.toThrow(
      `Cannot fetch "${uri}": no space is left on this host`,
    );
  } finally {
    await mustRun(['umount', sandbox], options);
    await rm(directory, { recursive: true, force: true });
  }
});
