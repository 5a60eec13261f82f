/** A real registry of images (Debian's `docker-registry`) on a loopback address, with an image made of the machine's busybox. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun, runCommand } from '../../src/runtime/command.ts';

const options = { timeoutMs: 60_000 };
/** Of whom a registry with `isPrivate` lets in: bcrypt of `secret`. */
export const USER = { name: 'somebody', password: 'secret' } as const;
const HTPASSWD = 'somebody:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';

export interface TestRegistry {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Puts an image that says `word` where nothing else is asked for under `name`; what was there before is replaced. */
  push(name: string, word: string): Promise<void>;
  /** How often something whose path holds `part` was asked for so far. */
  asked(part: string): Promise<number>;
  halt(): Promise<void>;
  stop(): Promise<void>;
}

export interface RegistryInit {
  readonly port: number;
  /** Words that run a command where the registry is to be; absent = here. */
  readonly enter?: readonly string[];
  /** Only `USER` is let in. */
  readonly isPrivate?: boolean;
}

export async function startRegistry(init: RegistryInit): Promise<TestRegistry> {
  const { port, enter = [], isPrivate = false } = init;
  const address = `127.0.0.1:${port}`;
  const directory = await mkdtemp(join(tmpdir(), 'plb-registry-'));
  await writeFile(join(directory, 'htpasswd'), HTPASSWD);
  await writeFile(join(directory, 'config.json'), JSON.stringify(configOf(directory, address, isPrivate)));
  await writeFile(join(directory, 'auth.json'), dockerConfig(address));
  const child = await start([...enter, 'docker-registry', 'serve', join(directory, 'config.json')]);
  const log: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => log.push(chunk));
  const ready = [...enter, 'curl', '-s', '-o', '/dev/null', `http://${address}/v2/`];
  for (let tries = 0; (await runCommand(ready, options)).status !== 0; tries++) {
    if (tries > 200) throw new Error(`no registry: ${Buffer.concat(log).toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const halt = (): Promise<void> => end(child);
  return {
    address,
    push: async (name, word) => {
      const layout = join(directory, 'layout');
      await makeLayout(layout, word);
      const auth = isPrivate ? ['--dest-authfile', join(directory, 'auth.json')] : [];
      const copy = ['skopeo', 'copy', '--quiet', '--dest-tls-verify=false', ...auth];
      const words = [...copy, `oci:${layout}:image`, `docker://${address}/${name}`];
      await mustRun([...enter, ...words], options);
    },
    asked: (part) =>
      Promise.resolve(
        Buffer.concat(log)
          .toString()
          .split('\n')
          .filter((line) => line.includes('"GET ') && line.includes(part)).length,
      ),
    halt,
    stop: async () => {
      await halt();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** One that takes connections and never says a word. */
export async function startSilentRegistry({
  port,
  enter = [],
}: Omit<RegistryInit, 'isPrivate'>): Promise<Pick<TestRegistry, 'address' | 'stop'>> {
  const script = `require('net').createServer(() => {}).listen(${port}, '127.0.0.1', () => console.log('here'))`;
  const child = await start([...enter, process.execPath, '-e', script]);
  await new Promise<void>((resolve) => {
    child.stdout?.once('data', () => resolve());
  });
  return { address: `127.0.0.1:${port}`, stop: () => end(child) };
}

/** What `docker login` as `USER` writes. */
export function dockerConfig(address: string): string {
  const auth = Buffer.from(`${USER.name}:${USER.password}`).toString('base64');
  return JSON.stringify({ auths: { [address]: { auth } } });
}

function configOf(directory: string, addr: string, isPrivate: boolean): object {
  return {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: join(directory, 'data') } },
    http: { addr },
    ...(isPrivate ? { auth: { htpasswd: { realm: 'test', path: join(directory, 'htpasswd') } } } : {}),
  };
}

/** An entry point, words for it, an environment, a directory and a user: all that an image can say of how it is started. */
export async function makeLayout(layout: string, word: string): Promise<void> {
  await rm(layout, { recursive: true, force: true });
  const bundle = `${layout}-bundle`;
  await mkdir(bundle);
  try {
    const script = `
      umoci init --layout ${layout}
      umoci new --image ${layout}:image
      umoci unpack --image ${layout}:image ${bundle}/image
      cd ${bundle}/image/rootfs
      mkdir -p bin etc srv tmp
      cp "$(command -v busybox)" bin/busybox
      for each in sh cat echo sleep id mkdir httpd env; do ln -s busybox bin/$each; done
      echo 'web:x:77:78::/srv:/bin/sh' > etc/passwd
      echo ${word} > srv/word
      umoci repack --image ${layout}:image ${bundle}/image
      umoci config --image ${layout}:image --config.entrypoint /bin/echo --config.entrypoint entry \\
        --config.cmd ${word} --config.env IMAGE=${word} --config.workingdir /srv --config.user web`;
    await mustRun(['sh', '-ec', script], options);
  } finally {
    await rm(bundle, { recursive: true, force: true });
  }
}

async function start(words: readonly string[]): Promise<ChildProcess> {
  const [program = '', ...args] = words;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  return child;
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

export async function readWord(rootfs: string): Promise<string> {
  return (await readFile(join(rootfs, 'srv', 'word'), 'utf8')).trim();
}
