/**
 * Performs a plan: a loop without decisions. A step that fails is noted, and the others go on.
 */
import { describeError } from '../base/errors.ts';
import { assert } from '../base/assert.ts';
import { isErrno } from '../kernel/types.ts';
import type { Kernel, KernelOperation } from '../kernel/types.ts';
import type { SysctlMemory } from '../kernel/sysctl-memory.ts';
import type { DesiredState } from '../overlay/desired.ts';
import type { Change, Step } from '../overlay/step.ts';
import type { TableMemory } from './table-memory.ts';

export interface Failure {
  readonly change: Change;
  readonly reason: string;
  /** Somebody changed the same elements between look and change (a container coming or going): look again. */
  readonly contended: boolean;
}

export interface Performer {
  readonly kernel: Kernel;
  readonly table: TableMemory;
  /** Remembers what the host's own settings were; absent = they are simply written. */
  readonly sysctls: Pick<SysctlMemory, 'ensure'> | undefined;
}

export async function perform(
  components: Performer,
  desired: DesiredState,
  steps: readonly Step[],
): Promise<readonly Failure[]> {
  const failures: Failure[] = [];
  for (let at = 0; at < steps.length;) {
    const batch = kernelBatch(steps, at);
    if (batch.length > 0) failures.push(...(await applyBatch(components.kernel, batch)));
    else failures.push(...(await performOne(components, desired, steps[at])));
    at += Math.max(batch.length, 1);
  }
  return failures;
}

type KernelStep = Extract<Step, { do: 'kernel' }>;

/** The run of kernel steps that starts at `from`: they go out together. */
function kernelBatch(steps: readonly Step[], from: number): readonly KernelStep[] {
  const batch: KernelStep[] = [];
  for (let at = from; at < steps.length; at++) {
    const step = steps[at];
    if (step?.do !== 'kernel') break;
    batch.push(step);
  }
  return batch;
}

async function applyBatch(kernel: Kernel, batch: readonly KernelStep[]): Promise<readonly Failure[]> {
  const failures = await kernel.apply(operationsOf(batch));
  return failures.map(({ index, error }) => {
    const step = batch[index];
    assert(step !== undefined, 'a failure of an operation that was asked for');
    return { change: step.change, reason: error.message, contended: false };
  });
}

/** Of tens of thousands each is made when its turn comes, while the kernel works on those before it. */
function* operationsOf(batch: readonly KernelStep[]): Generator<KernelOperation, void> {
  for (const { operation } of batch) yield operation;
}

async function performOne(
  components: Performer,
  desired: DesiredState,
  step: Step | undefined,
): Promise<readonly Failure[]> {
  assert(step !== undefined && step.do !== 'kernel', 'a step that is no kernel operation');
  try {
    if (step.do === 'sysctl') await writeSysctl(components, step);
    else if (step.do === 'nft-remove') await components.table.remove();
    else {
      assert(desired.table !== undefined, 'a desired table where one is changed');
      if (step.do === 'nft-replace') await components.table.replace(desired.table);
      else await components.table.change(desired.table, step.changes);
    }
    return [];
  } catch (error) {
    const contended = step.do === 'nft-change' && (isErrno(error, 'ENOENT') || isErrno(error, 'EEXIST'));
    return [{ change: step.change, reason: describeError(error), contended }];
  }
}

/** Settings of our own devices die with them; only the host's are remembered. */
async function writeSysctl(
  { kernel, sysctls }: Performer,
  { key, value, change }: Extract<Step, { do: 'sysctl' }>,
): Promise<void> {
  if (sysctls !== undefined && change.link === undefined && change.was !== undefined)
    await sysctls.ensure({ [key]: value });
  else await kernel.writeSysctl(key, value);
}
