/**
 * Keeps every app as it is wanted: looks at it, kills, launches, and goes on with deployments.
 *
 * Invariant: `#evaluate` depends on the app's instances and mode alone, so it may be asked as often as one likes.
 */
import { isResident, type App } from '../model/app.ts';
import type { Deployments } from './deployments.ts';
import type { Effects } from './effects.ts';
import { fieldOf } from './constraints.ts';
import { conditionOf, isActive, isHealthy, isOccupying, isReady, type Instance } from './instance.ts';
import type { CoreParts, Instances } from './instances.ts';
import type { Mode } from './running-deployment.ts';
import { enforcesRole } from './tree.ts';
import { scaleStep, upgradeStep, type Counted, type Verdict } from './upgrade.ts';

export interface KeeperParts extends CoreParts {
  readonly instances: Instances;
  readonly deployments: Deployments;
}

export class Keeper {
  readonly #parts: KeeperParts;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  keep(touched: Iterable<string>, effects: Effects): void {
    const { instances, deployments, table, agents } = this.#parts;
    for (const node of table.nodes()) if (agents.get(node) === undefined) agents.watch(node, effects);
    instances.killWithdrawn(effects);
    const lost = instances.judgeLost((app) => deployments.root.get(app), effects);
    let todo = new Set([...touched, ...lost]);
    // At least once: a deployment that changes nothing is over at once, although it touches no app.
    do {
      for (const app of todo) this.#evaluate(app, effects);
      todo = deployments.advance(effects);
    } while (todo.size > 0);
    this.#place(effects);
  }

  #evaluate(id: string, effects: Effects): void {
    const { table, instances, deployments, scheduler } = this.#parts;
    const mode = deployments.modeOf(id);
    const own = table.ofApp(id);
    const verdict = this.#judge(mode, own);
    for (const task of verdict.kill) {
      const instance = table.get(task);
      if (instance !== undefined) instances.kill(instance, { isUrgent: false }, effects);
    }
    deployments.setDone(id, verdict.done);
    if (mode.kind !== 'stop') {
      scheduler.want(mode.app, verdict.launch, effects.now.iso);
      return;
    }
    scheduler.forget(id);
    if (verdict.done) instances.forgetApp(id, effects);
  }

  #judge(mode: Mode, own: readonly Instance[]): Verdict {
    switch (mode.kind) {
      case 'stop':
        return stopVerdict(own);
      case 'upgrade':
        return upgradeStep(
          mode.app,
          own.map((each) => this.#counted(each, this.#isCurrent(each, mode.app, mode.since))),
        );
      case 'scale':
        return this.#judgeScale(mode.app, mode.wanted, own);
    }
  }

  /** Tasks on agents that are being emptied are old ones, whatever their version; volumes stay where they are. */
  #judgeScale(app: App, wanted: number, own: readonly Instance[]): Verdict {
    const isOnDrained = (each: Instance): boolean =>
      !isResident(app) && isActive(each) && this.#parts.agents.isDrained(each.stored.node);
    const counted = own.map((each) => this.#counted(each, !isOnDrained(each)));
    return wanted > 0 && own.some(isOnDrained)
      ? upgradeStep({ ...app, instances: wanted }, counted)
      : scaleStep(app, counted, wanted);
  }

  #isCurrent({ stored }: Instance, app: App, since: string | undefined): boolean {
    const { fingerprints, agents } = this.#parts;
    if (stored.config !== fingerprints.of(app)) return false;
    if (since !== undefined && stored.version < since) return false;
    return isResident(app) || !agents.isDrained(stored.node);
  }

  #counted(instance: Instance, isCurrent: boolean): Counted {
    const { stored } = instance;
    return {
      ...{ id: stored.taskId, createdAt: stored.createdAt, isCurrent },
      condition: conditionOf(instance),
      isHealthy: isHealthy(instance),
      isReady: isReady(instance),
      isActive: isActive(instance),
      isOccupying: isOccupying(instance),
      field: (name) => {
        const agent = this.#parts.agents.get(stored.node);
        if (agent === undefined) return undefined;
        const { region, zone, attributes } = agent.resources;
        return fieldOf({ name: agent.name, address: agent.address, region, zone, attributes }, name);
      },
    };
  }

  #place(effects: Effects): void {
    const { scheduler, instances, deployments } = this.#parts;
    const due = scheduler.waiting().filter(({ app }) => {
      const leftMs = instances.delayLeftMs(app, effects.now.ms);
      if (leftMs > 0) effects.wakeIn(leftMs);
      return leftMs <= 0;
    });
    if (!scheduler.isWorthTrying(due.map(({ app }) => app.id))) return;
    const offers = scheduler.offers();
    for (const { app, count } of due) {
      let left = count;
      const enforceRole = enforcesRole(deployments.tree, app.id);
      for (const reservation of instances.freeReservations(app.id).slice(0, count))
        for (const place of scheduler.place(app, 1, offers, effects.now.iso, reservation.node)) {
          instances.launch(app, place, { reservation, enforceRole }, effects);
          left -= 1;
        }
      // Volumes of a task that is still ending are its successor's, which waits for them.
      const waiting = isResident(app) ? instances.waitingReservations(app.id) : 0;
      const free = Math.max(0, left - waiting);
      for (const place of scheduler.place(app, free, offers, effects.now.iso)) {
        instances.launch(app, place, { reservation: undefined, enforceRole }, effects);
        left -= 1;
      }
      scheduler.want(app, left, effects.now.iso);
    }
  }
}

function stopVerdict(own: readonly Instance[]): Verdict {
  return {
    kill: own.filter(({ stored }) => stored.goal === 'Running').map(({ stored }) => stored.taskId),
    launch: 0,
    done: !own.some(isOccupying),
  };
}
