/**
 * The steps for objects of one kind, each made when its turn comes: there may be tens of thousands, the kernel works on
 * the first of them before the last are made, and of all that was done a log line shows five.
 */
import type { KernelOperation } from '../kernel/types.ts';
import type { Kind } from './inventory.ts';
import { SLICE } from './slice.ts';
import type { Change, ObjectKind, Step, StepRun, Steps } from './step.ts';

/** How objects of one kind become steps. */
export interface StepKind<T> {
  readonly object: ObjectKind;
  readonly kind: Kind<T>;
  make(value: T): KernelOperation;
  remove(value: T): KernelOperation;
}

/** A run of steps of which a part can be had. */
export interface DivisibleRun extends StepRun {
  slice(from: number, to: number): DivisibleRun;
}

/** One step for each of `values`. */
export class ObjectSteps<T> implements DivisibleRun {
  readonly #kind: StepKind<T>;
  readonly #action: Change['action'];
  readonly #values: readonly T[];
  /** What corrected objects were instead, in the same order. */
  readonly #was: readonly string[];

  constructor(
    kind: StepKind<T>,
    init: {
      readonly action: Change['action'];
      readonly values: readonly T[];
      readonly was?: readonly string[];
    },
  ) {
    this.#kind = kind;
    this.#action = init.action;
    this.#values = init.values;
    this.#was = init.was ?? [];
  }

  get length(): number {
    return this.#values.length;
  }

  get makes(): ObjectKind | undefined {
    return this.#action === 'make' ? this.#kind.object : undefined;
  }

  slice(from: number, to: number): ObjectSteps<T> {
    const [values, was] = [this.#values.slice(from, to), this.#was.slice(from, to)];
    return new ObjectSteps(this.#kind, { action: this.#action, values, was });
  }

  at(position: number): Step | undefined {
    const value = this.#values[position];
    return value === undefined
      ? undefined
      : new ObjectStep(this.#kind, value, this.#action, this.#was[position]);
  }

  *[Symbol.iterator](): Generator<Step, void> {
    for (const [position, value] of this.#values.entries())
      yield new ObjectStep(this.#kind, value, this.#action, this.#was[position]);
  }
}

/** One object for a step and what it is for; its words are made when somebody asks. */
class ObjectStep<T> implements Change {
  readonly action: Change['action'];
  readonly was: string | undefined;
  readonly #kind: StepKind<T>;
  readonly #value: T;

  constructor(kind: StepKind<T>, value: T, action: Change['action'], was: string | undefined) {
    this.action = action;
    this.was = was;
    this.#kind = kind;
    this.#value = value;
  }

  get do(): 'kernel' {
    return 'kernel';
  }

  get operation(): KernelOperation {
    return this.action === 'remove' ? this.#kind.remove(this.#value) : this.#kind.make(this.#value);
  }

  get change(): Change {
    return this;
  }

  get object(): ObjectKind {
    return this.#kind.object;
  }

  get id(): string {
    return `${this.object} ${this.#kind.kind.key(this.#value)}`;
  }

  get what(): string {
    return this.#kind.kind.words(this.#value);
  }

  get link(): string | undefined {
    return this.#kind.kind.link(this.#value);
  }
}

/** Runs of steps, one after the other. */
export class ConcatenatedSteps implements Steps {
  readonly runs: readonly StepRun[];

  constructor(runs: readonly StepRun[]) {
    this.runs = runs;
  }

  *[Symbol.iterator](): Generator<Step, void> {
    for (const run of this.runs) for (const step of run) yield step;
  }
}

/**
 * A node's objects near one another. Thousands of one kind in a row outrun the kernel: a VXLAN device's forwarding table
 * is grown by a worker, which gets no turn meanwhile, and an overfull one costs three times the work.
 */
export function mingled(groups: readonly DivisibleRun[]): readonly DivisibleRun[] {
  const count = Math.ceil(Math.max(...groups.map(({ length }) => length)) / SLICE);
  const part = (group: DivisibleRun, at: number): DivisibleRun =>
    group.slice(Math.floor((group.length * at) / count), Math.floor((group.length * (at + 1)) / count));
  return Array.from({ length: count }, (_, at) => groups.map((group) => part(group, at))).flat();
}
