/**
 * Performs a plan: a loop without decisions. A step that fails is noted, and the others go on.
 */
import { describeError } from '../base/errors.ts';
import { assert } from '../base/assert.ts';
import { isErrno } from '../kernel/types.ts';
import type { Kernel, KernelOperation } from '../kernel/types.ts';
import type { SysctlMemory } from '../kernel/sysctl-memory.ts';
import type { DesiredState } from '../overlay/desired.ts';
import type { Change, Step, StepRun, Steps } from '../overlay/step.ts';
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

export interface Performed {
  readonly steps: number;
  readonly failures: readonly Failure[];
}

export async function perform(
  components: Performer,
  desired: DesiredState,
  steps: Steps,
): Promise<Performed> {
  const queue = new StepQueue(steps);
  const refusals: Refusal[] = [];
  for (let step = queue.next(); step !== undefined; step = queue.next()) {
    const { position } = queue;
    if (step.do !== 'kernel') {
      const refusal = await performOne(components, desired, step);
      if (refusal !== undefined) refusals.push({ position, ...refusal });
    } else
      for (const { index, error } of await components.kernel.apply(queue.operations(step)))
        refusals.push({ position: position + index, reason: error.message, contended: false });
  }
  return { steps: queue.position, failures: failuresOf(steps, refusals) };
}

/** Takes steps one after the other, each when its turn comes. */
class StepQueue {
  /** Of the step taken last, the first being 1. */
  position = 0;
  readonly #runs: readonly StepRun[];
  #run = 0;
  #at = 0;

  constructor({ runs }: Steps) {
    this.#runs = runs;
  }

  next(): Step | undefined {
    const step = this.#ahead();
    if (step !== undefined) this.#take();
    return step;
  }

  /** The kernel steps from `first` on, which was taken already, up to the next other one: they go out together. */
  operations(first: KernelStep): Iterable<KernelOperation> {
    let isFirst = true;
    // One result for all: there may be tens of thousands.
    const result: IteratorYieldResult<KernelOperation> = { done: false, value: first.operation };
    const next = (): IteratorResult<KernelOperation, undefined> => {
      if (!isFirst) {
        const step = this.#ahead();
        if (step?.do !== 'kernel') return { done: true, value: undefined };
        this.#take();
        result.value = step.operation;
      }
      isFirst = false;
      return result;
    };
    return { [Symbol.iterator]: () => ({ next }) };
  }

  #ahead(): Step | undefined {
    for (; this.#run < this.#runs.length; this.#run++, this.#at = 0) {
      const step = this.#runs[this.#run]?.at(this.#at);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  #take(): void {
    this.#at++;
    this.position++;
  }
}

type KernelStep = Extract<Step, { do: 'kernel' }>;

interface Refusal {
  readonly position: number;
  readonly reason: string;
  readonly contended: boolean;
}

/** Goes through the steps once more for what they were for: failures are rare, and steps many. */
function failuresOf(steps: Iterable<Step>, refusals: readonly Refusal[]): readonly Failure[] {
  if (refusals.length === 0) return [];
  const byPosition = new Map(refusals.map((refusal) => [refusal.position, refusal]));
  const failures: Failure[] = [];
  let position = 0;
  for (const { change } of steps) {
    const refusal = byPosition.get(++position);
    if (refusal !== undefined)
      failures.push({ change, reason: refusal.reason, contended: refusal.contended });
  }
  return failures;
}

async function performOne(
  components: Performer,
  desired: DesiredState,
  step: Exclude<Step, KernelStep>,
): Promise<Omit<Refusal, 'position'> | undefined> {
  try {
    if (step.do === 'sysctl') await writeSysctl(components, step);
    else if (step.do === 'nft-remove') await components.table.remove();
    else {
      assert(desired.table !== undefined, 'a desired table where one is changed');
      if (step.do === 'nft-replace') await components.table.replace(desired.table);
      else await components.table.change(desired.table, step.changes);
    }
    return undefined;
  } catch (error) {
    const contended = step.do === 'nft-change' && (isErrno(error, 'ENOENT') || isErrno(error, 'EEXIST'));
    return { reason: describeError(error), contended };
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
