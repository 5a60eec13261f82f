/** `lab demo`: tells the story step by step, checks each, and leaves nothing behind, whatever happens. */
import { describeError } from '../base/errors.ts';
import { DemoLab } from './demo-tools.ts';
import { story, type Story } from './demo-story.ts';
import { labDown } from './down.ts';
import { requireRoot, type Say } from './lab.ts';
import { listLabs } from './state.ts';

export type DemoRow = Readonly<Record<string, unknown>>;

export interface DemoOutput {
  readonly say: Say;
  /** Prints a table. */
  readonly table: (rows: readonly DemoRow[]) => void;
}

/** Resolves to the exit code: 0 when every step held, 1 when one did not, 130 after Ctrl-C. */
export async function labDemo(lab: string, output: DemoOutput): Promise<number> {
  requireRoot();
  const interrupted = onInterrupt();
  try {
    await removeOld(lab);
    return await Promise.race([tell(lab, output), interrupted]);
  } finally {
    await removeOld(lab);
    output.say('cleaned up: nothing of the demo is left');
  }
}

/** What a former demo left, or this one. */
async function removeOld(lab: string): Promise<void> {
  if ((await listLabs()).includes(lab)) await labDown(lab, () => undefined);
}

/** Resolves at Ctrl-C. The handlers stay, so that a second one does not end the clean-up. */
function onInterrupt(): Promise<number> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(130));
  });
}

async function tell(lab: string, output: DemoOutput): Promise<number> {
  const begin = performance.now();
  const context: Story = { lab: new DemoLab(lab), containers: new Map() };
  for (const [i, step] of story.entries()) {
    const notes: string[] = [];
    const start = performance.now();
    const failure = await step
      .tell(context, (line) => void notes.push(line))
      .then(
        () => undefined,
        (error: unknown) => describeError(error),
      );
    const took = ((performance.now() - start) / 1000).toFixed(1).padStart(5);
    output.say(`${failure === undefined ? '✓' : '✗'} ${took} s  ${i + 1}. ${step.title}`);
    for (const note of notes) output.say(`              ${note}`);
    if (failure === undefined) continue;
    output.say(`              ${failure}`);
    return 1;
  }
  output.table(await containerRows(context));
  output.say(
    `${story.length} of ${story.length} steps held, ${((performance.now() - begin) / 1000).toFixed(1)} s`,
  );
  return 0;
}

async function containerRows(context: Story): Promise<readonly DemoRow[]> {
  const endpoints = await context.lab.endpoints('agent1');
  return endpoints
    .map((each) => ({
      container: each.name ?? each.container.slice(0, 12),
      host: each.host,
      network: each.network,
      runtime: each.source,
      addresses: each.addresses,
    }))
    .sort((a, b) => a.host.localeCompare(b.host) || a.container.localeCompare(b.container));
}
