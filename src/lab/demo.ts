/** `lab demo`: tells the story step by step, checks each, and leaves nothing behind, whatever happens. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describeError } from '../base/errors.ts';
import { mainProgram } from './daemons.ts';
import { DemoLab } from './demo-tools.ts';
import { story, type Story } from './demo-story.ts';
import { labDown } from './down.ts';
import { requireRoot, type Say } from './lab.ts';
import { listLabs } from './state.ts';

const INTERRUPTED = 130;

export type DemoRow = Readonly<Record<string, unknown>>;

export interface DemoOutput {
  readonly say: Say;
  /** Prints a table. */
  readonly table: (rows: readonly DemoRow[]) => void;
}

/**
 * Resolves to the exit code: 0 when every step held, 1 when one did not, 130 after Ctrl-C.
 *
 * The story is told by a process of its own, so that at Ctrl-C it can be ended before what it made is removed: a step
 * that went on would make more.
 */
export async function labDemo(lab: string, output: DemoOutput): Promise<number> {
  requireRoot();
  const interrupted = onInterrupt();
  await removeOld(lab);
  const argv = [mainProgram(), 'lab', 'demo', '--lab', lab, '--tell'];
  const teller = spawn(process.execPath, argv, { stdio: 'inherit', detached: true });
  const ended = once(teller, 'exit').then(([code]) => (typeof code === 'number' ? code : 1));
  const code = await Promise.race([ended, interrupted]);
  if (code === INTERRUPTED && teller.pid !== undefined) {
    process.kill(-teller.pid, 'SIGKILL');
    await ended;
  }
  await removeOld(lab);
  output.say('cleaned up: nothing of the demo is left');
  return code;
}

/** What a former demo left, or this one. */
async function removeOld(lab: string): Promise<void> {
  if ((await listLabs()).includes(lab)) await labDown(lab, () => undefined);
}

/** Resolves at Ctrl-C. The handlers stay, so that a second one does not end the clean-up. */
function onInterrupt(): Promise<number> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => resolve(INTERRUPTED));
  });
}

/** Tells the story; whoever calls it cleans up. */
export async function tellStory(lab: string, output: DemoOutput): Promise<number> {
  const begin = performance.now();
  const context: Story = { lab: new DemoLab(lab), containers: new Map(), blocks: new Map() };
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
