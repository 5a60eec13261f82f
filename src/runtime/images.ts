/**
 * Images for native containers: brought by skopeo, unpacked by umoci, kept unpacked for the next container.
 *
 * An image is named as skopeo names it: `oci:/path[:tag]`, `docker-archive:/path[:name]`, `docker-daemon:name`; anything
 * else is a name in a registry. What was unpacked is known by the digest of its manifest; which digest a name had when it
 * was last asked for is kept, so that a name is asked for again only where that is wished (`force`), as Docker does.
 * Invariants: a directory of the store is whole, or is named `.new-…` and removed by the next start.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { lastLine, runCommand } from './command.ts';

const PULL_TIMEOUT_MS = 15 * 60_000;
const UNPACK_TIMEOUT_MS = 10 * 60_000;
const UNUSED_MS = 24 * 3_600_000;
/** Touched whenever the image is used. */
const CONFIG_FILE = 'image.json';
const TEMPORARY = '.new-';
const TRANSPORTS = /^(oci|oci-archive|docker-archive|docker-daemon|docker|dir|containers-storage):/;

export interface Image {
  /** Of its manifest: `sha256-…`, the name of its directory. */
  readonly id: string;
  readonly rootfs: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  readonly user: string | undefined;
}

const descriptor = z.looseObject({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) });
const index = z.looseObject({ manifests: z.array(descriptor).min(1) });
const manifest = z.looseObject({ config: descriptor });
const strings = z
  .array(z.string())
  .nullish()
  .transform((list) => list ?? []);
const imageConfig = z.looseObject({
  config: z
    .looseObject({
      Entrypoint: strings,
      Cmd: strings,
      Env: strings,
      WorkingDir: z.string().default(''),
      User: z.string().default(''),
    })
    .prefault({}),
});

export class ImageStore {
  readonly #root: string;
  /** Pulls under way, by name: containers of one image come in crowds. */
  readonly #underWay = new Map<string, Promise<Image>>();

  constructor(init: { readonly root: string }) {
    this.#root = init.root;
  }

  /** Removes what a crash left half done. */
  async open(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#root))
      if (name.startsWith(TEMPORARY)) await rm(join(this.#root, name), { recursive: true, force: true });
  }

  /** Resolves when it is unpacked. */
  get(name: string, options: { readonly force: boolean; readonly signal: AbortSignal }): Promise<Image> {
    const pulled = this.#underWay.get(name) ?? this.#get(name, options.force);
    this.#underWay.set(name, pulled);
    const done = pulled.finally(() => {
      if (this.#underWay.get(name) === pulled) this.#underWay.delete(name);
    });
    return abandonable(done, options.signal);
  }

  /** Removes the images that no container stands on, and that none was made of for a day. */
  async removeUnused(used: ReadonlySet<string>, nowMs: number): Promise<void> {
    if (this.#underWay.size > 0) return;
    for (const name of await readdir(this.#root).catch(() => [])) {
      if (!name.startsWith('sha256-') || used.has(name)) continue;
      const path = join(this.#root, name);
      const { mtimeMs } = await stat(join(path, CONFIG_FILE)).catch(() => ({ mtimeMs: 0 }));
      if (nowMs - mtimeMs > UNUSED_MS) await rm(path, { recursive: true, force: true });
    }
  }

  async #get(name: string, force: boolean): Promise<Image> {
    const image = (force ? undefined : await this.#known(name)) ?? (await this.#pull(name));
    const now = new Date();
    await utimes(join(this.#root, image.id, CONFIG_FILE), now, now);
    return image;
  }

  async #known(name: string): Promise<Image | undefined> {
    const id = (await readFile(this.#nameFile(name), 'utf8').catch(() => '')).trim();
    return id !== '' && existsSync(join(this.#root, id)) ? readImage(this.#root, id) : undefined;
  }

  #nameFile(name: string): string {
    return join(this.#root, `name-${createHash('sha256').update(name).digest('hex')}`);
  }

  async #pull(name: string): Promise<Image> {
    const directory = join(this.#root, `${TEMPORARY}${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(directory);
      const layout = join(directory, 'layout');
      const source = TRANSPORTS.test(name) ? name : `docker://${name}`;
      await step(name, ['skopeo', 'copy', '--quiet', source, `oci:${layout}:image`], PULL_TIMEOUT_MS);
      const id = await manifestId(layout);
      if (!existsSync(join(this.#root, id))) {
        const bundle = join(directory, 'bundle');
        await mkdir(bundle);
        await writeFile(join(bundle, CONFIG_FILE), await configText(layout, id));
        const unpack = ['umoci', 'raw', 'unpack', '--image', `${layout}:image`, join(bundle, 'rootfs')];
        await step(name, unpack, UNPACK_TIMEOUT_MS);
        await rename(bundle, join(this.#root, id)).catch((error: NodeJS.ErrnoException) => {
          // The same image under another name was quicker.
          if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
        });
      }
      await writeFile(this.#nameFile(name), id);
      return await readImage(this.#root, id);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}

/** Which of the two programs are missing. */
export async function missingImageTools(): Promise<readonly string[]> {
  const missing: string[] = [];
  for (const program of ['skopeo', 'umoci'])
    await runCommand([program, '--version'], { timeoutMs: 10_000 }).catch(() => missing.push(program));
  return missing;
}

async function step(name: string, words: readonly string[], timeoutMs: number): Promise<void> {
  const result = await runCommand(words, { timeoutMs });
  if (result.status === 0) return;
  throw new PortolanError('invalid', `Cannot get image "${name}": ${reason(result.stderr)}`, {
    field: 'container.docker.image',
    remedy: 'check its name, and that this host can reach where it is',
  });
}

/** Both log like `time="…" level=fatal msg="…"`. */
function reason(stderr: string): string {
  const line = lastLine(stderr);
  const quoted = /msg=("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
  return quoted === undefined ? line : quoted.slice(1, -1).replaceAll(/\\(.)/g, '$1');
}

async function manifestId(layout: string): Promise<string> {
  const parsed = index.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
  return (parsed.manifests[0]?.digest ?? '').replace(':', '-');
}

async function configText(layout: string, id: string): Promise<string> {
  const blob = (digest: string): Promise<string> =>
    readFile(join(layout, 'blobs', 'sha256', digest.replace(/^sha256[:-]/, '')), 'utf8');
  return blob(manifest.parse(JSON.parse(await blob(id))).config.digest);
}

async function readImage(root: string, id: string): Promise<Image> {
  const directory = join(root, id);
  const { config } = imageConfig.parse(JSON.parse(await readFile(join(directory, CONFIG_FILE), 'utf8')));
  const env = config.Env.map((text) => {
    const at = text.indexOf('=');
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return {
    id,
    rootfs: join(directory, 'rootfs'),
    entrypoint: config.Entrypoint,
    command: config.Cmd,
    env: Object.fromEntries(env),
    cwd: config.WorkingDir === '' ? undefined : config.WorkingDir,
    user: config.User === '' ? undefined : config.User,
  };
}

/** The pull goes on for others that wait for it. */
function abandonable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason as Error);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}
