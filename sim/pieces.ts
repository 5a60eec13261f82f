/**
 * Runs that differ in nothing but their seed are pieces of one: what takes hours is run in parts, which can be stopped
 * and taken up again.
 */
import type { Figures } from './simulate.ts';

export interface Done {
  /** The options of the run, its seed last. */
  readonly args: string;
  /** Hash of the shipped code it ran. */
  readonly code: string;
  readonly figures: Figures;
}

const SEED = / --seed (\d+)$/;

/** The virtual time of the main part: what is repeated before and after it in each piece shows nothing more. */
export function shownSeconds({ args, figures }: Done): number {
  const seconds = /--seconds (\d+)/.exec(args)?.[1];
  return seconds === undefined ? figures.virtualSeconds : Number(seconds);
}

/** `plans` in a few words. */
export function joinedPlans(plans: readonly string[]): readonly string[] {
  return groups(plans, (plan) => plan).map(named);
}

/** Those that are pieces of one run stand together. */
export function piecesOf(done: readonly Done[]): readonly (readonly Done[])[] {
  return groups(done, ({ args }) => args);
}

/** One for all pieces of a run: times and rates are those of the worst piece, counts those of all together. */
export function joined(pieces: readonly Done[]): Done {
  return {
    args: named(pieces.map(({ args }) => args)),
    code: pieces[0]?.code ?? '',
    figures: pieces.map(({ figures }) => figures).reduce(join),
  };
}

function groups<T>(all: readonly T[], argsOf: (each: T) => string): readonly (readonly T[])[] {
  const found = new Map<string, T[]>();
  for (const each of all) {
    const options = argsOf(each).replace(SEED, '');
    found.set(options, [...(found.get(options) ?? []), each]);
  }
  return Array.from(found.values());
}

/** Seeds that follow each other are named by the first and the last. */
function named(plans: readonly string[]): string {
  const ranges: [from: number, to: number][] = [];
  const seeds = plans.map((plan) => Number(SEED.exec(plan)?.[1]));
  for (const seed of seeds.sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.[1] === seed - 1) last[1] = seed;
    else ranges.push([seed, seed]);
  }
  const texts = ranges.map(([from, to]) => (from === to ? String(from) : `${from} to ${to}`));
  return `${plans[0]?.replace(SEED, '') ?? ''} --seed ${texts.join(', ')}`;
}

function join(one: Figures, other: Figures): Figures {
  return {
    ...one,
    virtualSeconds: one.virtualSeconds + other.virtualSeconds,
    violations: [...one.violations, ...other.violations],
    convergence: worst(one.convergence, other.convergence),
    detection: worst(one.detection, other.detection),
    falseSuspicions: one.falseSuspicions + other.falseSuspicions,
    bytesPerSecondPerNode: Math.max(one.bytesPerSecondPerNode, other.bytesPerSecondPerNode),
    maxBytesPerSecond: Math.max(one.maxBytesPerSecond, other.maxBytesPerSecond),
    heapBytesPerNode: most(one.heapBytesPerNode, other.heapBytesPerNode),
    wallSeconds: Math.round(10 * (one.wallSeconds + other.wallSeconds)) / 10,
    events: one.events + other.events,
  };
}

function worst<T extends Readonly<Record<string, number | null>>>(one: T, other: T): T {
  return Object.fromEntries(
    Object.keys(one).map((name) => [name, most(one[name] ?? null, other[name] ?? null)]),
  ) as T;
}

function most(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
