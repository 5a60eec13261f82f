/** A lab for a test file: up before, down after, also after failure. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { inHost, runInHost } from '../../src/lab/access.ts';
import { DemoLab, eventually, webServer, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labDown } from '../../src/lab/down.ts';
import { labUp } from '../../src/lab/lab.ts';
import type { LabOptions } from '../../src/lab/plan.ts';
import { mainProgram } from '../../src/lab/daemons.ts';
import { hostPaths } from '../../src/lab/paths.ts';
import { readAgentStatus } from '../../src/lab/readiness.ts';
import { readLabState } from '../../src/lab/state.ts';
import { labRun } from '../../src/lab/run.ts';
import type { CommandResult } from '../../src/runtime/command.ts';

const options = { timeoutMs: 60_000 };

/** A daemon that a test started by itself, with a configuration of its own. */
export class TestDaemon {
  readonly #child: ChildProcess;
  /** What it has logged, or said before it ended. */
  said = '';
  readonly ended: Promise<number | null>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on('data', (chunk: Buffer) => (this.said += chunk.toString()));
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.ended;
  }
}

export class TestLab {
  readonly name: string;
  readonly tools: DemoLab;

  constructor(prefix: string) {
    this.name = `${prefix}${randomBytes(2).toString('hex')}`;
    this.tools = new DemoLab(this.name);
  }

  async up(wanted: Partial<LabOptions>): Promise<void> {
    await labUp(this.name, wanted, () => undefined);
  }

  /** Harmless when there is none. */
  async down(): Promise<void> {
    await labDown(this.name, () => undefined);
  }

  sh(host: string, script: string): Promise<string> {
    return inHost(this.name, host, ['sh', '-ec', script], options);
  }

  try(host: string, argv: readonly string[]): Promise<CommandResult> {
    return runInHost(this.name, host, argv, options);
  }

  async run(host: string, name: string, argv: readonly string[] = webServer(name)): Promise<PlacedContainer> {
    const { id, addresses } = await labRun({ lab: this.name, host, name, argv, runtime: 'native' });
    return { name, host, id, address: addresses[0] ?? '' };
  }

  /** Waits until `from` gets the web server's own name from it. */
  async reaches(from: PlacedContainer, to: PlacedContainer): Promise<void> {
    await eventually(`${from.name} asks ${to.name}`, 15_000, async () =>
      (await this.tools.fetchFromContainer(from, to.address)) === to.name ? true : undefined,
    );
  }

  /** Starts a daemon on a host whose own is stopped. */
  async start(host: string, kind: 'master' | 'agent', config: unknown): Promise<TestDaemon> {
    const path = `/etc/portolan/test-${kind}.json`;
    await this.sh(host, `printf '%s' '${JSON.stringify(config)}' > ${path}`);
    const argv = [process.execPath, mainProgram(), kind, '--config', path];
    return new TestDaemon(await this.tools.startOnHost(host, argv));
  }

  /** How one host may join, once. */
  async invitation(): Promise<string> {
    const { tokens } = (await this.tools.api('POST', '/v1/tokens', {})) as {
      tokens: readonly { readonly token: string }[];
    };
    return `${tokens[0]?.token ?? ''}@10.0.0.1:5050`;
  }

  async pid(host: string, kind: 'master' | 'agent'): Promise<number> {
    const found = (await readLabState(this.name))?.processes.find(
      (each) => each.host === host && each.kind === kind,
    );
    return found?.pid ?? 0;
  }

  /** What the agent of a host has logged. */
  log(host: string): readonly Readonly<Record<string, unknown>>[] {
    const lines = readFileSync(`${hostPaths(this.name, host).log}/agent.log`, 'utf8').split('\n');
    return lines
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** What the overlay gave a host. */
  async grant(host: string): Promise<{ vtep: string; mac: string; blocks: readonly (string | undefined)[] }> {
    const status = await readAgentStatus(this.name, host);
    const vxlan = status?.overlays[0]?.backend.vxlan;
    return {
      vtep: vxlan?.vtep_ip ?? '',
      mac: vxlan?.vtep_mac ?? '',
      blocks: (status?.overlays ?? []).map((overlay) => overlay.subnet ?? overlay.subnet6),
    };
  }
}
