/**
 * Images for native containers, kept unpacked for the next container.
 *
 * An image is named as skopeo names it: `oci:/path[:tag]`, `docker-archive:/path[:name]`, `docker-daemon:name`; anything
 * else is a name in a registry. What was unpacked is known by the digest of its manifest; which digest a name had when it
 * was last asked for is kept, so that a name is asked for again only where that is wished (`force`), as Docker does.
 * Invariants: a directory of the store is whole, or is named `.new-…` and removed by the next start; an image is not
 * removed between the moment when it is found or made and the end of `use`; a pull that nobody waits for any more ends.
 * Kept are the images that containers stand on, and of the others those used within a day, as long as they have no more
 * than `maxUnusedKib` together: the one that was not used for longest goes first.
 */
import { createHash, randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { IdleWatch } from './idle-watch.ts';
import {
  CONFIG_FILE,
  copyImage,
  imageKib,
  isUnpacked,
  readImage,
  unpackImage,
  type Image,
} from './image-pull.ts';
import { SharedWork } from './shared-work.ts';

export type { Image } from './image-pull.ts';

const REGISTRY_IDLE_MS = 60_000;
const UNUSED_MS = 24 * 3_600_000;
const TEMPORARY = '.new-';
const NAME = 'name-';

export interface ImageStoreInit {
  readonly root: string;
  /** A registry that sends nothing for so long is given up; absent = a minute. */
  readonly registryIdleMs?: number;
  /** Of images that no container stands on; absent = no limit. */
  readonly maxUnusedKib?: number;
}

export interface ImageWish {
  readonly name: string;
  /** Ask where it comes from although it is here. */
  readonly force: boolean;
  /** A `config.json` of Docker. */
  readonly credentials?: string | undefined;
  readonly signal: AbortSignal;
}

export class ImageStore {
  readonly #clock: Clock;
  readonly #root: string;
  readonly #registryIdleMs: number;
  readonly #maxUnusedKib: number;
  /** Containers of one image come in crowds. */
  readonly #pulls = new SharedWork<Image>();
  /** Ids of images in use by launches under way, with how many. */
  readonly #pinned = new Map<string, number>();

  constructor(components: { readonly clock: Clock }, init: ImageStoreInit) {
    const { root, registryIdleMs = REGISTRY_IDLE_MS, maxUnusedKib = Infinity } = init;
    this.#clock = components.clock;
    this.#root = root;
    this.#registryIdleMs = registryIdleMs;
    this.#maxUnusedKib = maxUnusedKib;
  }

  /** Removes what a crash left half done. */
  async open(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#root))
      if (name.startsWith(TEMPORARY)) await rm(join(this.#root, name), { recursive: true, force: true });
  }

  /** Unpacks it where it is not there; it stays until `action` has settled. */
  async use<T>(wish: ImageWish, action: (image: Image) => Promise<T>): Promise<T> {
    const image = await this.#get(wish);
    // In the same turn as the end of the pull: until then nothing is removed.
    this.#pinned.set(image.id, (this.#pinned.get(image.id) ?? 0) + 1);
    try {
      const now = new Date();
      await utimes(join(this.#root, image.id, CONFIG_FILE), now, now);
      return await action(image);
    } finally {
      const count = (this.#pinned.get(image.id) ?? 1) - 1;
      if (count > 0) this.#pinned.set(image.id, count);
      else this.#pinned.delete(image.id);
    }
  }

  /** `used` are those that containers stand on. */
  async removeUnused(used: ReadonlySet<string>, nowMs: number): Promise<void> {
    const unused = [];
    for (const id of await readdir(this.#root).catch(() => [])) {
      if (!id.startsWith('sha256-') || used.has(id)) continue;
      const directory = join(this.#root, id);
      const { mtimeMs } = await stat(join(directory, CONFIG_FILE)).catch(() => ({ mtimeMs: 0 }));
      unused.push({ id, usedMs: mtimeMs, kib: await imageKib(directory) });
    }
    let keptKib = 0;
    for (const { id, usedMs, kib } of unused.sort((a, b) => b.usedMs - a.usedMs)) {
      if (nowMs - usedMs > UNUSED_MS || keptKib + kib > this.#maxUnusedKib) await this.#remove(id);
      else keptKib += kib;
    }
  }

  async #remove(id: string): Promise<void> {
    // Looked at and moved away in one turn: no launch can come between.
    if (this.#pulls.isUnderWay || this.#pinned.has(id)) return;
    const away = join(this.#root, `${TEMPORARY}${randomBytes(6).toString('hex')}`);
    renameSync(join(this.#root, id), away);
    await rm(away, { recursive: true, force: true });
    for (const name of await readdir(this.#root))
      if (name.startsWith(NAME) && (await this.#idIn(name)) === id)
        await rm(join(this.#root, name), { force: true });
  }

  async #get({ name, force, credentials, signal }: ImageWish): Promise<Image> {
    // Others' credentials may lead to another answer.
    const who = credentials === undefined ? '' : await readFile(credentials, 'utf8');
    const key = JSON.stringify([name, force, who]);
    return this.#pulls.join(key, signal, (each) => this.#find({ name, force, credentials }, each));
  }

  async #find({ name, force, credentials }: Omit<ImageWish, 'signal'>, signal: AbortSignal): Promise<Image> {
    const known = force ? undefined : await this.#known(name);
    return known ?? this.#pull(name, credentials, signal);
  }

  async #known(name: string): Promise<Image | undefined> {
    const id = await this.#idIn(nameFile(name));
    const directory = join(this.#root, id);
    return id !== '' && isUnpacked(directory) ? readImage(directory, id) : undefined;
  }

  async #idIn(file: string): Promise<string> {
    return (await readFile(join(this.#root, file), 'utf8').catch(() => '')).trim();
  }

  async #pull(name: string, credentials: string | undefined, signal: AbortSignal): Promise<Image> {
    const temporary = join(this.#root, `${TEMPORARY}${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(temporary);
      const layout = join(temporary, 'layout');
      const idle = new IdleWatch({ clock: this.#clock }, { limitMs: this.#registryIdleMs });
      const id = await copyImage(name, layout, { credentials, signal, idle });
      const directory = join(this.#root, id);
      if (!isUnpacked(directory)) {
        const bundle = join(temporary, 'bundle');
        await unpackImage(name, { layout, id }, bundle, signal);
        await rename(bundle, directory).catch((error: NodeJS.ErrnoException) => {
          // The same image under another name was quicker.
          if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
        });
      }
      await writeFile(join(this.#root, nameFile(name)), id);
      return await readImage(directory, id);
    } finally {
      // A program that was killed may not have ended yet.
      await rm(temporary, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    }
  }
}

function nameFile(name: string): string {
  return `${NAME}${createHash('sha256').update(name).digest('hex')}`;
}
