/**
 * The arithmetic of rolling upgrades and of scaling (the reference "Marathon", section 4).
 *
 * Purpose: pure and without memory: instances as they are in, what to do now out. Asked again after every change, it
 * takes an upgrade to its end, also by another master than the one that began it.
 * Invariants: nothing that is killed here brings what serves below minHealthy; nothing launched here brings the number of
 * instances above maxCapacity.
 * Review notes: Marathon acts on the event "one of the new is healthy and ready: kill one of the old". As levels: more
 * serve than must: that many old go (which is also the kill at the start); unhealthy old ones beyond those that no new
 * one has replaced yet go too (which is also the surplus). One rule is ours: where there is no room and nothing is on
 * its way, an unhealthy old one goes, where Marathon stands still until somebody cancels.
 */
import type { App } from '../model/app.ts';
import { chooseToKill, killOrder, type Candidate } from './kill-selection.ts';

/** An instance as it counts. */
export interface Counted extends Candidate {
  /** Meant to run, and not replaced. */
  readonly isActive: boolean;
  /** Takes up capacity, even if it is on its way out. */
  readonly isOccupying: boolean;
  /** Of the definition wanted. */
  readonly isCurrent: boolean;
  readonly isReady: boolean;
}

export interface Verdict {
  /** Ids. */
  readonly kill: readonly string[];
  /** How many more. */
  readonly launch: number;
  readonly done: boolean;
}

type Strategy = Pick<App, 'instances' | 'upgradeStrategy' | 'killSelection' | 'constraints' | 'residency'>;

export interface Capacity {
  /** At least so many must serve. */
  readonly minHealthy: number;
  /** At most so many may exist. */
  readonly maxCapacity: number;
  /** Neither less nor more is allowed, of an app that cannot have one more: one fewer is. */
  readonly mustDip: boolean;
}

/** `healthy` counts old and new ones. */
export function capacityOf(app: Strategy, healthy: number): Capacity {
  const { instances: n, upgradeStrategy } = app;
  const minHealthy = Math.ceil(round(n * upgradeStrategy.minimumHealthCapacity));
  const maxCapacity = Math.floor(round(n * (1 + upgradeStrategy.maximumOverCapacity)));
  const isTight = minHealthy === maxCapacity && maxCapacity <= healthy;
  const isResident = app.residency !== undefined;
  return {
    minHealthy,
    maxCapacity: isTight && !isResident ? maxCapacity + 1 : maxCapacity,
    mustDip: minHealthy === maxCapacity && isResident,
  };
}

/** 10 × (1 + 0.1) is 11, whatever the processor says. */
const round = (value: number): number => Math.round(value * 1e9) / 1e9;

export function upgradeStep(app: Strategy & App, instances: readonly Counted[]): Verdict {
  const active = instances.filter((each) => each.isActive);
  const old = active.filter((each) => !each.isCurrent);
  const fresh = active.filter((each) => each.isCurrent);
  const ready = fresh.filter((each) => each.isReady).length;
  const serving = old.filter((each) => each.isHealthy).length + ready;
  const { minHealthy, maxCapacity, mustDip } = capacityOf(app, serving);
  const occupying = instances.filter((each) => each.isOccupying).length;
  const launch = clamp(app.instances - fresh.length, maxCapacity - occupying);
  const kill = [
    ...oldToKill(app, old, { ready, spare: serving - minHealthy }),
    ...(old.length === 0 ? surplusOf(app, fresh) : []),
  ];
  const isIdle = kill.length === 0 && launch === 0 && ready === fresh.length && occupying === active.length;
  if (isIdle && old.length > 0) {
    const [sick] = killOrder(
      app,
      old.filter((each) => !each.isHealthy),
    );
    const first = sick ?? killOrder(app, old)[0];
    if (first !== undefined && (!first.isHealthy || (mustDip && serving >= minHealthy))) kill.push(first);
  }
  const done =
    ready >= app.instances &&
    kill.length === 0 &&
    instances.every((each) => each.isCurrent || !each.isOccupying);
  return { kill: kill.map(({ id }) => id), launch, done };
}

/** Unhealthy ones first; of the healthy only as many as can be spared. */
function oldToKill(
  app: App,
  old: readonly Counted[],
  { ready, spare }: { readonly ready: number; readonly spare: number },
): Counted[] {
  const replaced = old.length - Math.max(0, app.instances - ready);
  const count = Math.max(0, spare, replaced);
  const ordered = [...old].sort((a, b) => Number(a.isHealthy) - Number(b.isHealthy));
  const unhealthy = killOrder(
    app,
    ordered.filter((each) => !each.isHealthy),
  ).slice(0, count);
  const healthy = chooseToKill(
    app,
    ordered.filter((each) => each.isHealthy),
    clamp(count - unhealthy.length, spare),
  );
  return [...unhealthy, ...healthy];
}

/** Those that do not serve first. */
function surplusOf(app: App, fresh: readonly Counted[]): Counted[] {
  const surplus = fresh.length - app.instances;
  const useless = chooseToKill(
    app,
    fresh.filter((each) => !each.isReady),
    surplus,
  );
  const ready = fresh.filter((each) => each.isReady);
  return [...useless, ...chooseToKill(app, ready, surplus - useless.length)];
}

/** As many as wanted, of whatever version. Those on lost agents are waited for until they are replaced. */
export function scaleStep(app: App, instances: readonly Counted[], wanted = app.instances): Verdict {
  const active = instances.filter((each) => each.isActive);
  const kill = chooseToKill(app, active, active.length - wanted);
  const isEnding = instances.some((each) => !each.isActive && each.isOccupying);
  const isSettled = active.every((each) => each.isReady || each.condition === 'Unreachable');
  return {
    kill: kill.map(({ id }) => id),
    launch: Math.max(0, wanted - active.length),
    done: active.length === wanted && isSettled && !isEnding,
  };
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(value, most));
}
