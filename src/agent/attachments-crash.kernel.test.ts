/**
 * A crash at every step of ADD and of DEL, on the real kernel.
 *
 * Every call to the kernel or the journal is a point; the process "dies" before or after it: that call and all later
 * ones of that instance fail. A new instance over the same journal must then leave nothing, whichever way it learns
 * of it: the runtime's DEL, the sweep, or the next ADD.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryJournal } from '../store/memory-journal.ts';
import type { Journal } from '../store/types.ts';
import type { Kernel, NetworkNamespace } from '../kernel/types.ts';
import { callCni, CniBed, leftNamespaces } from '../../test/support/cni-bed.ts';

const NAMES = 'pcn-crash';
let bed: CniBed;
beforeAll(async () => {
  bed = await CniBed.open(NAMES);
});
afterAll(async () => {
  await bed.close();
  expect(leftNamespaces(NAMES)).toEqual([]);
});

/** Counts the calls; from the chosen one on the process is dead. */
class Fuse {
  calls = 0;
  dead = false;
  readonly at: number;
  readonly when: 'before' | 'after';
  armed = false;

  constructor(at: number, when: 'before' | 'after') {
    this.at = at;
    this.when = when;
  }

  async around<T>(action: () => Promise<T>): Promise<T> {
    if (!this.armed) return action();
    if (this.dead) throw new Error('crashed');
    const mine = this.calls++ === this.at;
    if (mine && this.when === 'before') this.#die();
    const result = await action();
    if (mine) this.#die();
    return result;
  }

  #die(): never {
    this.dead = true;
    throw new Error('crashed');
  }
}

const synchronous: ReadonlySet<string | symbol> = new Set(['close', 'get', 'entries', 'portPerhapsInUse']);

/** Wraps every asynchronous method of the object, and the objects that `openNamespace` gives. */
function fused<T extends object>(target: T, fuse: Fuse): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object);
      if (name === 'nft') return fused(value as object, fuse);
      if (typeof value !== 'function') return value;
      const method = value.bind(object) as (...args: unknown[]) => unknown;
      if (synchronous.has(name)) return method;
      if (name === 'writeLazily')
        // What was never flushed is lost in a crash: the worst case is that it never is.
        return () => undefined;
      return (...args: unknown[]) =>
        fuse.around(async () => {
          const result = await method(...args);
          return name === 'openNamespace' ? fused(result as NetworkNamespace, fuse) : result;
        });
    },
  });
}

const config = {
  runtimeConfig: {
    portMappings: [
      { hostPort: 31_180, containerPort: 80 },
      { hostPort: 31_153, containerPort: 53, protocol: 'udp' },
    ],
  },
};
const nothing = { links: [], elements: [] };

type Way = 'DEL' | 'recovery' | 'ADD and DEL';
const MAX_POINTS = 60;

/** Runs `command` with a crash at the point, then clears up in the given way; false = there is no such point. */
async function crashAt(
  command: 'ADD' | 'DEL',
  at: number,
  when: 'before' | 'after',
  way: Way,
): Promise<boolean> {
  const disk = new Map<string, string>();
  const fuse = new Fuse(at, when);
  const container = bed.container();
  const journal: Journal = memoryJournal(disk);
  const dying = bed.service(fused(journal, fuse), { kernel: fused<Kernel>(bed.kernel, fuse) });
  if (command === 'DEL')
    expect((await callCni(dying, 'ADD', { container, config, network: 'dual' })).exitCode).toBe(0);
  fuse.armed = true;
  await callCni(dying, command, { container, config, network: 'dual' });

  const heir = bed.service(memoryJournal(disk));
  await heir.recover();
  if (way === 'ADD and DEL' && heir.list().length === 0)
    expect((await callCni(heir, 'ADD', { container, config, network: 'dual' })).exitCode).toBe(0);
  if (way === 'recovery') {
    bed.removeContainer(container);
    for (let i = 0; i < 2; i++) await heir.sweep();
  } else {
    expect((await callCni(heir, 'DEL', { container, config, network: 'dual' })).exitCode).toBe(0);
    bed.removeContainer(container);
  }

  expect({ at, when, ...(await bed.leftovers()) }).toEqual({ at, when, ...nothing });
  expect([...disk.keys()].filter((key) => key.startsWith('attachment/'))).toEqual([]);
  await expectAllAddressesFree(disk);
  return fuse.dead;
}

/** The small network has five IPv4 addresses: all of them can be had by a service that reads this disk. */
async function expectAllAddressesFree(disk: Map<string, string>): Promise<void> {
  const names = Array.from({ length: 5 }, (_, i) => `probe-${i}`);
  const pool = bed.service(memoryJournal(new Map(disk)), { kernel: pretending(bed.kernel) });
  for (const container of names)
    expect(await callCni(pool, 'ADD', { container, network: 'dual' })).toMatchObject({ code: 0 });
}

/** Accepts every operation and does none, so that only the bookkeeping is tried. */
function pretending(kernel: Kernel): Kernel {
  const inside = {
    apply: async () => [],
    writeSysctl: async () => undefined,
    defaultRoutes: async () => [],
    close: () => undefined,
  };
  return new Proxy(kernel, {
    get(object, name) {
      if (name === 'apply') return async () => [];
      if (name === 'openNamespace') return async (path: string) => ({ ...inside, inode: path.length });
      if (name === 'namespaceInode') return async (path: string) => path.length;
      const value: unknown = Reflect.get(object, name, object);
      return typeof value === 'function' ? (value.bind(object) as unknown) : value;
    },
  });
}

describe.each(['ADD', 'DEL'] as const)('a crash at any step of %s', (command) => {
  test.each(['DEL', 'recovery', 'ADD and DEL'] as const)('leaves nothing after %s', async (way) => {
    let points = 0;
    for (const when of ['before', 'after'] as const)
      for (let at = 0; at < MAX_POINTS; at++) {
        if (!(await crashAt(command, at, when, way))) break;
        points++;
      }
    expect(points).toBeGreaterThan(8);
    expect(points).toBeLessThan(2 * MAX_POINTS);
  });
});

test('a crash between the pair and the disk leaves nothing', async () => {
  const disk = new Map<string, string>();
  const container = bed.container();
  const slow: Journal = Object.assign(Object.create(memoryJournal(disk)) as Journal, {
    write: () => new Promise<void>(() => undefined),
    writeLazily: () => undefined,
    get: () => undefined,
    entries: () => [],
  });
  void callCni(bed.service(slow), 'ADD', { container, network: 'dual' });
  await expect.poll(async () => (await bed.leftovers()).links).toHaveLength(1);

  const heir = bed.service(memoryJournal(disk));
  await heir.recover();
  expect(await bed.leftovers()).toEqual(nothing);
  expect((await callCni(heir, 'ADD', { container, network: 'dual' })).exitCode).toBe(0);
  expect((await callCni(heir, 'DEL', { container, network: 'dual' })).exitCode).toBe(0);
  bed.removeContainer(container);
});
