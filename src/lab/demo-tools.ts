/** What the demo's steps do to containers and hosts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { z } from 'zod';
import { sleep } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import { packageRoot } from '../base/package-root.ts';
import { request } from '../http/client.ts';
import type { CommandResult } from '../runtime/command.ts';
import { hostPrefix, runInHost } from './access.ts';
import { hostPaths, labPaths } from './paths.ts';

const COMMAND_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const RUNC_ROOT = '/run/portolan/runc';

export interface PlacedContainer {
  readonly name: string;
  readonly host: string;
  readonly id: string;
  readonly address: string;
}

/** Fails the step with what was expected and what is. */
export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected)
    throw new PortolanError('internal', `${what}: got ${String(actual)}, expected ${String(expected)}`);
}

/** Asks again until the answer is wanted; a limit, not a pause. */
export async function eventually<T>(
  what: string,
  limitMs: number,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > end) throw new PortolanError('internal', `${what}: not within ${limitMs} ms`);
    await sleep(POLL_MS);
  }
}

/** A web server that answers with its own name, as a shell command. */
export function webServer(name: string): readonly string[] {
  const script = `mkdir -p /tmp/www; echo ${name} > /tmp/www/index.html; exec busybox httpd -f -p 80 -h /tmp/www`;
  return ['busybox', 'sh', '-c', script];
}

/** Debian's busybox is built without `wget -T`, and crashes on it. */
function wget(address: string): readonly string[] {
  return ['busybox', 'timeout', '3', 'busybox', 'wget', '-q', '-O-', `http://${address}/`];
}

export class DemoLab {
  readonly lab: string;

  constructor(lab: string) {
    this.lab = lab;
  }

  onHost(host: string, argv: readonly string[]): Promise<CommandResult> {
    return runInHost(this.lab, host, argv, { timeoutMs: COMMAND_TIMEOUT_MS });
  }

  inContainer(container: PlacedContainer, argv: readonly string[]): Promise<CommandResult> {
    return this.onHost(container.host, ['runc', '--root', RUNC_ROOT, 'exec', container.id, ...argv]);
  }

  inDocker(container: PlacedContainer, argv: readonly string[]): Promise<CommandResult> {
    return this.onHost(container.host, ['docker', 'exec', container.name, ...argv]);
  }

  /** Starts a process on a host and leaves it running; the caller ends it. */
  async startOnHost(host: string, argv: readonly string[]): Promise<ChildProcess> {
    const [program = '', ...args] = [...(await hostPrefix(this.lab, host)), ...argv];
    return spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  /** What the web server at `address` says to a host. */
  async fetchFromHost(host: string, address: string): Promise<string> {
    return said(await this.onHost(host, wget(address)));
  }

  async fetchFromContainer(container: PlacedContainer, address: string): Promise<string> {
    return said(await this.inContainer(container, wget(address)));
  }

  async fetchFromDocker(container: PlacedContainer, address: string): Promise<string> {
    return said(await this.inDocker(container, wget(address)));
  }

  /** Polls until the server at `address` answers the host. */
  async awaitAnswer(host: string, address: string, expected: string): Promise<void> {
    await eventually(`${host} asks ${address}`, 10_000, async () =>
      (await this.fetchFromHost(host, address)) === expected ? true : undefined,
    );
  }

  /** The master's API. */
  async api(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const target = { socketPath: labPaths(this.lab).apiSocket };
    const answer = await request(target, { method, path, body, timeoutMs: COMMAND_TIMEOUT_MS });
    if (answer.status < 400) return answer.body;
    throw new PortolanError(
      'internal',
      `${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`,
    );
  }

  /** All endpoints that the agent of `host` knows. */
  async endpoints(host: string): Promise<readonly z.infer<typeof endpointRow>[]> {
    const { agentSocket } = hostPaths(this.lab, host);
    const path = '/v1/endpoints';
    const answer = await request(
      { socketPath: agentSocket },
      { method: 'GET', path, timeoutMs: COMMAND_TIMEOUT_MS },
    );
    return z.object({ endpoints: z.array(endpointRow) }).parse(answer.body).endpoints;
  }
}

/** The program itself, as a user on that host would call it. */
export async function portolan(lab: DemoLab, host: string, argv: readonly string[]): Promise<void> {
  const result = await lab.onHost(host, [process.execPath, join(packageRoot, 'dist', 'main.js'), ...argv]);
  if (result.status !== 0) throw new Error(`portolan ${argv.join(' ')}: ${result.stderr.trim()}`);
}

const endpointRow = z.object({
  host: z.string(),
  name: z.string().optional(),
  container: z.string(),
  network: z.string(),
  source: z.string(),
  addresses: z.array(z.string()),
});

/** What a command said, or why it said nothing. */
function said(result: CommandResult): string {
  return result.status === 0 ? result.stdout.trim() : `(failed: ${result.stderr.trim()})`;
}
