/** A lab for a test file: up before, down after, also after failure. */
import { randomBytes } from 'node:crypto';
import { inHost, runInHost } from '../../src/lab/access.ts';
import { DemoLab, eventually, webServer, type PlacedContainer } from '../../src/lab/demo-tools.ts';
import { labDown } from '../../src/lab/down.ts';
import { labUp } from '../../src/lab/lab.ts';
import type { LabOptions } from '../../src/lab/plan.ts';
import { readAgentStatus } from '../../src/lab/readiness.ts';
import { labRun } from '../../src/lab/run.ts';
import type { CommandResult } from '../../src/runtime/command.ts';

const options = { timeoutMs: 60_000 };

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
    await labDown(this.name, () => undefined).catch((error: unknown) => {
      if ((error as { code?: string }).code !== 'not-found') throw error;
    });
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
