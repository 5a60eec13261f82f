/** Images with skopeo and umoci as they are, from a registry as it is. */
import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../test/support/free-port.ts';
import {
  dockerConfig,
  makeLayout,
  readWord,
  startRegistry,
  startSilentRegistry,
  type RegistryInit,
  type TestRegistry,
} from '../../test/support/registry.ts';
import { realClock } from '../base/clock.ts';
import { mustRun } from './command.ts';
import { ImageStore, type Image } from './images.ts';
import { credentialsIn } from './registry-credentials.ts';

let directory = '';
let root = '';
let store: ImageStore;
const closers: (() => Promise<void>)[] = [];

async function registry(init: Partial<RegistryInit> = {}): Promise<TestRegistry> {
  const started = await startRegistry({ port: await freePort(), ...init });
  closers.push(() => started.stop());
  return started;
}

interface Wish {
  readonly force?: boolean;
  readonly credentials?: string | undefined;
  readonly signal?: AbortSignal;
}

function use<T>(name: string, action: (image: Image) => Promise<T>, wish: Wish = {}): Promise<T> {
  return store.use({ name, force: false, signal: new AbortController().signal, ...wish }, action);
}
const word = (name: string, wish: Wish = {}): Promise<string> =>
  use(name, ({ rootfs }) => readWord(rootfs), wish);
const unpacked = async (): Promise<readonly string[]> =>
  (await readdir(root)).filter((name) => name.startsWith('sha256-'));
const halfDone = async (): Promise<readonly string[]> =>
  (await readdir(root)).filter((name) => name.startsWith('.'));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plb-images-'));
  root = join(directory, 'images');
  store = new ImageStore({ clock: realClock }, { root });
  await store.open();
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  expect(await halfDone()).toEqual([]);
  await rm(directory, { recursive: true, force: true });
});

describe('images of a registry', () => {
  it('are pulled once for all who want them, and again where that is forced: the tag may have moved', async () => {
    const { address, push, asked, halt } = await registry();
    await push('team/web:1', 'first');
    const name = `${address}/team/web:1`;
    const images = await Promise.all(
      Array.from({ length: 8 }, () => use(name, (image) => Promise.resolve(image))),
    );
    expect(new Set(images.map(({ id }) => id)).size).toBe(1);
    expect(images[0]).toMatchObject({
      ...{ entrypoint: ['/bin/echo', 'entry'], command: ['first'], cwd: '/srv', user: 'web' },
      env: { IMAGE: 'first' },
    });
    const pulls = await asked('/manifests/1');
    expect(pulls).toBe(1);
    await push('team/web:1', 'second');
    expect(await word(name)).toBe('first');
    expect(await word(name, { force: true })).toBe('second');
    // From now on that is what the name means.
    expect(await word(name)).toBe('second');
    await halt();
    expect(await word(name)).toBe('second');
    await expect(word(name, { force: true })).rejects.toThrow(/Cannot get image ".*": .*connection refused/);
    expect(await unpacked()).toHaveLength(2);
  });

  it('that do not exist, or are let out to others only, are refused in words that say so', async () => {
    const open = await registry();
    await expect(word(`${open.address}/nosuch:1`)).rejects.toThrow(/manifest unknown/);
    const { address, push } = await registry({ isPrivate: true });
    await push('team/web', 'hidden');
    const name = `${address}/team/web`;
    await expect(word(name)).rejects.toThrow(/authentication required/);
    const sandbox = join(directory, 'sandbox');
    await mkdir(join(sandbox, '.docker'), { recursive: true });
    expect(await credentialsIn(sandbox)).toBeUndefined();
    const file = join(sandbox, '.docker', 'config.json');
    await writeFile(file, dockerConfig(address).replace('auths', 'nothing'));
    await expect(word(name, { credentials: await credentialsIn(sandbox) })).rejects.toThrow(/authentication/);
    await writeFile(file, dockerConfig(address));
    expect(await word(name, { credentials: await credentialsIn(sandbox) })).toBe('hidden');
    expect(await unpacked()).toHaveLength(1);
  });

  it('are not waited for where the registry has sent nothing for long', async () => {
    const silent = await startSilentRegistry({ port: await freePort() });
    closers.push(() => silent.stop());
    store = new ImageStore({ clock: realClock }, { root, registryIdleMs: 1_200 });
    await expect(word(`${silent.address}/team/web:1`)).rejects.toThrow(
      `Cannot get image "${silent.address}/team/web:1": its registry ${silent.address} has sent nothing for 1.2 s`,
    );
  });

  it('are not asked for with a file that only a link in the sandbox leads to', async () => {
    const sandbox = join(directory, 'sandbox');
    await mkdir(join(directory, 'outside'));
    await mkdir(sandbox);
    await writeFile(join(directory, 'outside', 'config.json'), '{}');
    await symlink(join(directory, 'outside'), join(sandbox, '.docker'));
    expect(await credentialsIn(sandbox)).toBeUndefined();
  });

  it('are not pulled on when nobody waits for them any more, and are when somebody does', async () => {
    const { address, push } = await registry();
    await push('web', 'here');
    const [first, second] = [new AbortController(), new AbortController()];
    const lone = word(`${address}/web`, { signal: first.signal });
    first.abort(new Error('not wanted'));
    await expect(lone).rejects.toThrow('not wanted');
    await expect.poll(halfDone).toEqual([]);
    expect(await unpacked()).toEqual([]);
    const leaves = word(`${address}/web`, { signal: second.signal });
    const stays = word(`${address}/web`);
    second.abort(new Error('gone'));
    await expect(leaves).rejects.toThrow('gone');
    expect(await stays).toBe('here');
  });
});

describe('images that are kept', () => {
  const DAY_MS = 86_400_000;
  const names = ['one', 'two', 'three'] as const;
  const layouts = async (): Promise<readonly string[]> => {
    for (const name of names) await makeLayout(join(directory, name), name);
    return names.map((name) => `oci:${join(directory, name)}:image`);
  };

  it('are those that containers stand on, and of the others those of a day', async () => {
    const [one = '', two = '', three = ''] = await layouts();
    const ids = [];
    for (const name of [one, two, three]) ids.push(await use(name, ({ id }) => Promise.resolve(id)));
    const [first = '', second = '', third = ''] = ids;
    const nowMs = Date.now();
    for (const id of [first, second]) {
      const then = new Date(nowMs - 2 * DAY_MS);
      await utimes(join(root, id, 'image.json'), then, then);
    }
    await store.removeUnused(new Set([first]), nowMs);
    expect((await unpacked()).toSorted()).toEqual([first, third].toSorted());
    // Its name is forgotten with it.
    expect((await readdir(root)).filter((name) => name.startsWith('name-'))).toHaveLength(2);
    expect(await word(two)).toBe('two');
  });

  it('have no more room than they are given; the one that was not used for longest goes, and none in use', async () => {
    const [one = '', two = '', three = ''] = await layouts();
    const sizes = [];
    for (const name of [one, two]) sizes.push(await use(name, ({ rootfs }) => sizeOf(rootfs)));
    store = new ImageStore({ clock: realClock }, { root, maxUnusedKib: Math.max(...sizes) * 2 });
    await store.removeUnused(new Set(), Date.now());
    expect(await unpacked()).toHaveLength(2);
    const old = new Date(Date.now() - 60_000);
    const first = await use(one, ({ id }) => Promise.resolve(id));
    await utimes(join(root, first, 'image.json'), old, old);
    const third = await use(three, async ({ id }) => {
      await store.removeUnused(new Set(), Date.now());
      return id;
    });
    expect(await unpacked()).not.toContain(first);
    expect(await unpacked()).toContain(third);
    store = new ImageStore({ clock: realClock }, { root, maxUnusedKib: 0 });
    await use(two, async ({ rootfs }) => {
      await store.removeUnused(new Set(), Date.now());
      expect(await readWord(rootfs)).toBe('two');
    });
    expect(await unpacked()).toHaveLength(1);
    await store.removeUnused(new Set(), Date.now());
    expect(await unpacked()).toEqual([]);
  });
});

async function sizeOf(path: string): Promise<number> {
  return Number.parseInt(await mustRun(['du', '-sk', path], { timeoutMs: 10_000 }), 10);
}
