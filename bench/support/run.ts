/** Running commands for benches: output kept, failure thrown with what the command said. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout; compiled benches live two folders below it. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const portolan = join(root, 'bin', 'portolan');

/** What `bin/portolan` gives to Node. */
export function nodeFlags(): readonly string[] {
  const flags = /^exec node (.*) "\$root/m.exec(readFileSync(portolan, 'utf8'))?.[1];
  return flags === undefined ? [] : flags.split(' ');
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export function run(command: string, args: readonly string[], input?: string): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: MAX_OUTPUT_BYTES }, (error, stdout, stderr) => {
      if (error === null) resolve({ stdout, stderr });
      else
        reject(
          new Error(`${command} ${args.join(' ')}: ${stderr === '' ? error.message : stderr.slice(0, 2000)}`),
        );
    });
    // A command that ends without reading its input is no failure of ours.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

export async function shell(script: string): Promise<string> {
  return (await run('sh', ['-ec', script])).stdout;
}

const undo: (() => void)[] = [];

/** Undone in reverse order when the bench ends, however it ends. */
export function atEnd(action: () => void): void {
  undo.push(action);
}

export function cleanUp(): void {
  for (const action of undo.splice(0).reverse()) {
    try {
      action();
    } catch (error) {
      console.error(`clean-up: ${(error as Error).message}`);
    }
  }
}

/** A network namespace of its own, removed at the end. */
export async function namespace(name: string): Promise<string> {
  await run('ip', ['netns', 'add', name]);
  atEnd(() => execFileSync('ip', ['netns', 'del', name]));
  await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return name;
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'portolan-bench-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A C program of `bench/`, as a path. */
export async function compiled(source: string): Promise<string> {
  const program = join(temporaryFolder(), source.replace(/\.c$/, ''));
  await run('gcc', ['-O2', '-pthread', '-o', program, join(root, 'bench', source)]);
  return program;
}

/** A lab of its own, taken down at the end. */
export async function lab(
  name: string,
  hosts: number,
  ...options: readonly string[]
): Promise<(host: string, ...argv: string[]) => Promise<Output>> {
  atEnd(() => execFileSync(portolan, ['lab', 'down', '--lab', name], { stdio: 'ignore' }));
  await run(portolan, ['lab', 'up', '--lab', name, '--hosts', String(hosts), ...options]);
  return (host, ...argv) => run(portolan, ['lab', 'exec', '--lab', name, host, '--', ...argv]);
}
