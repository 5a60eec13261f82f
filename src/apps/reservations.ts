/**
 * Persistent volumes: reserved for an instance on its agent while its tasks come and go, and to be wiped from that agent's
 * disk when they are given up.
 *
 * Invariant: an agent removes the data of a volume only when it is told to, by name: a volume that the store knows nothing
 * of, as after a restore of an old one, is left alone. What is to be wiped is in the store until the agent has it on disk.
 */
import type { Random } from '../base/random.ts';
import type { App } from '../model/app.ts';
import type { NodeId } from '../model/names.ts';
import type { Effects } from './effects.ts';
import { persistentPathsOf, uuidOf } from './launch.ts';
import { appKeys } from './store-keys.ts';

/** The volumes of one instance. */
export interface Reservation {
  readonly instanceId: string;
  readonly app: string;
  readonly node: NodeId;
  readonly volumes: readonly { readonly containerPath: string; readonly persistenceId: string }[];
  /** Tasks launched so far. */
  readonly attempts: number;
}

/** Volumes of one instance that are given up. */
export interface Wipe {
  readonly instanceId: string;
  readonly node: NodeId;
  readonly volumes: readonly string[];
}

export interface ReservationsState {
  readonly reservations: readonly Reservation[];
  readonly wipes: readonly Wipe[];
}

export class Reservations {
  readonly #random: Random;
  readonly #reservations: Map<string, Reservation>;
  readonly #wipes: Map<string, Wipe>;

  constructor(components: { readonly random: Random }, state: ReservationsState) {
    this.#random = components.random;
    this.#reservations = new Map(state.reservations.map((each) => [each.instanceId, each]));
    this.#wipes = new Map(state.wipes.map((each) => [each.instanceId, each]));
  }

  has(instanceId: string): boolean {
    return this.#reservations.has(instanceId);
  }

  ofApp(app: string): readonly Reservation[] {
    return [...this.#reservations.values()].filter((each) => each.app === app);
  }

  /** For the next task of an instance; `undefined` when the app has no such volumes. */
  reserve(
    app: App,
    at: {
      readonly instanceId: string;
      readonly node: NodeId;
      readonly reservation: Reservation | undefined;
    },
    effects: Effects,
  ): Reservation | undefined {
    const paths = persistentPathsOf(app);
    if (paths.length === 0) return undefined;
    const { instanceId, node, reservation } = at;
    const made: Reservation = {
      ...{ instanceId, node, app: app.id },
      volumes: paths.map((containerPath) => ({
        containerPath,
        persistenceId:
          reservation?.volumes.find((volume) => volume.containerPath === containerPath)?.persistenceId ??
          `${app.id.slice(1).replaceAll('/', '_')}#${containerPath}#${uuidOf(this.#random)}`,
      })),
      attempts: (reservation?.attempts ?? 0) + 1,
    };
    this.#reservations.set(instanceId, made);
    effects.writes.set(appKeys.reservation(instanceId), made);
    return made;
  }

  /** Gives up the volumes of an instance: their agent removes them when no task uses them any more. */
  giveUp(instanceId: string, effects: Effects): void {
    const reservation = this.#reservations.get(instanceId);
    if (reservation === undefined) return;
    this.#forget(instanceId, effects);
    const { node } = reservation;
    const volumes = reservation.volumes.map(({ persistenceId }) => persistenceId);
    const wipe: Wipe = { instanceId, node, volumes };
    this.#wipes.set(instanceId, wipe);
    effects.writes.set(appKeys.wipe(instanceId), wipe);
    effects.nodes.add(node);
  }

  /** What the agent of the node is to remove. */
  wipesOn(node: NodeId): readonly string[] {
    return [...this.#wipes.values()].filter((each) => each.node === node).flatMap(({ volumes }) => volumes);
  }

  /** The agent has on disk that it is to remove these. */
  taken(node: NodeId, volumes: readonly string[], effects: Effects): void {
    const known = new Set(volumes);
    for (const wipe of this.#wipes.values())
      if (wipe.node === node && wipe.volumes.every((id) => known.has(id))) this.#drop(wipe, effects);
  }

  /** Nodes that were removed from the cluster have no volumes any more, and are told nothing. */
  forgetNodes(removed: ReadonlySet<NodeId>, effects: Effects): Set<string> {
    const touched = new Set<string>();
    for (const { instanceId, node, app } of this.#reservations.values()) {
      if (!removed.has(node)) continue;
      this.#forget(instanceId, effects);
      touched.add(app);
    }
    for (const wipe of this.#wipes.values()) if (removed.has(wipe.node)) this.#drop(wipe, effects);
    return touched;
  }

  #forget(instanceId: string, effects: Effects): void {
    this.#reservations.delete(instanceId);
    effects.writes.set(appKeys.reservation(instanceId), undefined);
  }

  #drop({ instanceId, node }: Wipe, effects: Effects): void {
    this.#wipes.delete(instanceId);
    effects.writes.set(appKeys.wipe(instanceId), undefined);
    effects.nodes.add(node);
  }
}
