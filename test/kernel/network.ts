/** Namespaces and processes for tests on the real kernel: made and removed by the test itself. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { sleep } from '../../src/base/clock.ts';
import type { LogLine } from '../../src/base/log.ts';
import type { HostReport, HostRequest } from './reconciler-host.ts';

const root = join(import.meta.dirname, '../..');

export function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Polls until `check` holds; the error names what it waited for. */
export async function waitFor(
  what: string,
  check: () => boolean | Promise<boolean>,
  timeoutMs = 2_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for: ${what}`);
    await sleep(20);
  }
}

/** Namespaces of one test, with one prefix, removed all together. */
export class Namespaces {
  readonly #prefix: string;
  readonly #made: string[] = [];

  constructor(prefix: string) {
    this.#prefix = `${prefix}${process.pid}`;
  }

  add(name: string): string {
    const full = `${this.#prefix}-${name}`;
    run('ip', 'netns', 'add', full);
    this.#made.push(full);
    run('ip', '-n', full, 'link', 'set', 'lo', 'up');
    return full;
  }

  removeAll(): void {
    for (const name of this.#made.splice(0)) run('ip', 'netns', 'del', name);
  }
}

/** The test's program, compiled for Node, which runs no TypeScript in the versions we support. */
export class BuiltProgram {
  readonly #directory: string;
  readonly path: string;

  constructor(source: string) {
    const cache = join(root, 'node_modules/.cache');
    mkdirSync(cache, { recursive: true });
    this.#directory = mkdtempSync(join(cache, 'portolan-test-'));
    const config = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: false,
        outDir: this.#directory,
        rootDir: root,
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')],
      },
      files: [join(root, source)],
      include: [],
    };
    writeFileSync(join(this.#directory, 'package.json'), '{"type":"module"}');
    writeFileSync(join(this.#directory, 'tsconfig.json'), JSON.stringify(config));
    run(join(root, 'node_modules/.bin/tsc'), '-p', this.#directory);
    this.path = join(this.#directory, source.replace(/\.ts$/, '.js'));
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A reconciler running inside a namespace. */
export class ReconcilerHost {
  readonly logs: LogLine[] = [];
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, (result: unknown) => void>();
  readonly #exited: Promise<unknown>;
  #next = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
  }

  static async start(namespace: string, program: string): Promise<ReconcilerHost> {
    const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, process.execPath, program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const host = new ReconcilerHost(child);
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the reconciler's process ended with ${code}`)));
      if (child.stdout === null) throw new Error('a child with a pipe');
      createInterface({ input: child.stdout }).on('line', (line) => {
        const message = JSON.parse(line) as { ready?: true; log?: LogLine; id?: number; result?: unknown };
        if (message.ready) resolve();
        else if (message.log !== undefined) host.logs.push(message.log);
        else if (message.id !== undefined) host.#pending.get(message.id)?.(message.result);
      });
    });
    return host;
  }

  async report(request: Extract<HostRequest, { do: 'desired' | 'settle' | 'remove' }>): Promise<HostReport> {
    return (await this.#request(request)) as HostReport;
  }

  /** Milliseconds of processor time per round, of ten. */
  async cpuMs(): Promise<number> {
    return (await this.#request({ do: 'cpu' })) as number;
  }

  async metrics(): Promise<Readonly<Record<string, number>>> {
    return (await this.#request({ do: 'metrics' })) as Readonly<Record<string, number>>;
  }

  /** Repairs logged so far, by object. */
  repaired(object: string): readonly LogLine[] {
    return this.logs.filter(({ level, fields }) => level === 'warn' && fields['object'] === object);
  }

  /** As `kill -9`. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #request(request: HostRequest): Promise<unknown> {
    const id = this.#next++;
    this.#child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    return new Promise((resolve) => this.#pending.set(id, resolve));
  }
}
