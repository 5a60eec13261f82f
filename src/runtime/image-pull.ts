/**
 * Bringing one image: copied by skopeo, unpacked by umoci, its configuration read.
 *
 * Registries on this host's loopback are spoken to without TLS, as Docker does; for all others the host's own
 * `registries.conf` says which are insecure.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { lastLine, runCommand, type CommandOptions } from './command.ts';
import type { IdleWatch } from './idle-watch.ts';
import { isLoopbackRegistry, registryOf } from './image-name.ts';
import { ioMark } from './process.ts';

const PULL_TIMEOUT_MS = 15 * 60_000;
const UNPACK_TIMEOUT_MS = 10 * 60_000;
const SIZE_TIMEOUT_MS = 5 * 60_000;
/** Touched whenever the image is used. */
export const CONFIG_FILE = 'image.json';
const SIZE_FILE = 'kib';
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

export interface PullOptions {
  /** A `config.json` of Docker, for registries that ask who one is. */
  readonly credentials: string | undefined;
  /** Gives up a registry that has sent nothing for long. */
  readonly idle: IdleWatch;
  readonly signal: AbortSignal;
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

/** Into an OCI layout at `layout`; resolves to the image's id. */
export async function copyImage(name: string, layout: string, options: PullOptions): Promise<string> {
  const source = TRANSPORTS.test(name) ? name : `docker://${name}`;
  const remote = source.startsWith('docker://') ? source.slice('docker://'.length) : undefined;
  const insecure = remote !== undefined && isLoopbackRegistry(remote);
  const { credentials, signal } = options;
  const words = [
    ...['skopeo', 'copy', '--quiet'],
    ...(insecure ? ['--src-tls-verify=false'] : []),
    ...(credentials === undefined ? [] : ['--src-authfile', credentials]),
    ...[source, `oci:${layout}:image`],
  ];
  const limits = { timeoutMs: PULL_TIMEOUT_MS, signal };
  if (remote === undefined) await step(name, words, limits);
  else await stepFrom(registryOf(remote), name, words, { ...limits, idle: options.idle });
  return manifestId(layout);
}

async function stepFrom(
  registry: string,
  name: string,
  words: readonly string[],
  { timeoutMs, signal, idle }: StepOptions & { readonly idle: IdleWatch },
): Promise<void> {
  try {
    const onStart = (pid: number): void => idle.start(() => ioMark(pid));
    await step(name, words, { timeoutMs, signal: AbortSignal.any([signal, idle.signal]), onStart });
  } catch (error) {
    if (!idle.signal.aborted) throw error;
    const why = `its registry ${registry} has sent nothing for ${idle.limitMs / 1000} s`;
    throw new PortolanError('unavailable', `Cannot get image "${name}": ${why}`, {
      field: 'container.docker.image',
      remedy: 'look at that registry, and at the way to it from this host',
      cause: error,
    });
  } finally {
    idle.stop();
  }
}

/** From a layout into `bundle`, which is made: the root file system, and what belongs to it. */
export async function unpackImage(
  name: string,
  from: { readonly layout: string; readonly id: string },
  bundle: string,
  signal: AbortSignal,
): Promise<void> {
  const rootfs = join(bundle, 'rootfs');
  await mkdir(bundle);
  await writeFile(join(bundle, CONFIG_FILE), await configText(from.layout, from.id));
  const words = ['umoci', 'raw', 'unpack', '--image', `${from.layout}:image`, rootfs];
  await step(name, words, { timeoutMs: UNPACK_TIMEOUT_MS, signal });
  const { stdout } = await runCommand(['du', '-sk', rootfs], { timeoutMs: SIZE_TIMEOUT_MS, signal });
  await writeFile(join(bundle, SIZE_FILE), String(Number.parseInt(stdout, 10) || 0));
}

export async function readImage(directory: string, id: string): Promise<Image> {
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

/** Unpacked; an image of a version that did not measure counts as nothing, and goes when it is a day old. */
export async function imageKib(directory: string): Promise<number> {
  return Number(await readFile(join(directory, SIZE_FILE), 'utf8').catch(() => '0'));
}

type StepOptions = Pick<CommandOptions, 'timeoutMs' | 'onStart'> & { readonly signal: AbortSignal };

async function step(name: string, words: readonly string[], options: StepOptions): Promise<void> {
  const result = await runCommand(words, options);
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

export function isUnpacked(directory: string): boolean {
  return existsSync(join(directory, CONFIG_FILE));
}
