/**
 * The trees of apps that were deployed: the one of now and some before it, as the store has them.
 *
 * A tree names its apps by id and version; definitions are stored once each. So a tree of thousands of apps costs little
 * when one of them changes.
 */
import { z } from 'zod';
import { emptyGroup, findApp } from '../../apps/tree.ts';
import { appKeys } from '../../apps/store-keys.ts';
import { PortolanError } from '../../base/errors.ts';
import { app as appSchema, appsOf, type App, type Group } from '../../model/app.ts';
import type { StoreEntry, StoreOperation } from '../../store/types.ts';
import { decodeStored } from '../stored.ts';

/** As many as Marathon keeps by default. */
const MAX_TREES = 50;
const MAX_VERSIONS = 50;
/** Of the tree of a cluster that never had an app. */
const FIRST_VERSION = '1970-01-01T00:00:00.000Z';

interface StoredGroup {
  readonly id: string;
  readonly apps: readonly (readonly [id: string, version: string])[];
  readonly groups: readonly StoredGroup[];
  readonly dependencies: readonly string[];
  readonly version: string;
  readonly enforceRole: boolean;
}

const storedGroup: z.ZodType<StoredGroup> = z.object({
  id: z.string(),
  apps: z.array(z.tuple([z.string(), z.string()])),
  groups: z.array(z.lazy(() => storedGroup)),
  dependencies: z.array(z.string()),
  version: z.string(),
  enforceRole: z.boolean(),
});
const storedCurrent = z.object({ version: z.string() });

export class Trees {
  /** By version, oldest first. */
  readonly #trees = new Map<string, Group>();
  /** By app, then version, oldest first. */
  readonly #definitions = new Map<string, Map<string, App>>();
  readonly current: Group;

  /** `entries` are all below `apps/`. */
  constructor(entries: readonly StoreEntry[]) {
    // In no store; and the very first deployment may be under way, which comes from there.
    this.#trees.set(FIRST_VERSION, emptyGroup('/', FIRST_VERSION));
    for (const entry of entries)
      if (entry.key.startsWith(appKeys.definitions)) this.#remember(decodeStored(appSchema, entry));
    for (const entry of entries)
      if (entry.key.startsWith(appKeys.trees)) {
        const tree = this.#restore(decodeStored(storedGroup, entry));
        this.#trees.set(tree.version, tree);
      }
    const current = entries.find(({ key }) => key === appKeys.current);
    const version = current === undefined ? FIRST_VERSION : decodeStored(storedCurrent, current).version;
    this.current = this.wanted(version);
  }

  at(version: string): Group | undefined {
    return this.#trees.get(version);
  }

  all(): Iterable<Group> {
    return this.#trees.values();
  }

  wanted(version: string): Group {
    const tree = this.#trees.get(version);
    if (tree !== undefined) return tree;
    throw new PortolanError('corrupt', `Cannot find the apps of version ${version} in the store`, {
      field: appKeys.tree(version),
      remedy: 'restore the state directory from a backup',
    });
  }

  /** Newest first. */
  versions(app: string): readonly string[] {
    return Array.from(this.#definitions.get(app)?.keys() ?? []).reverse();
  }

  appAt(app: string, version: string): App | undefined {
    return this.#definitions.get(app)?.get(version);
  }

  /** Takes on a tree as the newest; `inUse` are versions that must be kept. Returns what to write. */
  add(tree: Group, inUse: ReadonlySet<string>): readonly StoreOperation[] {
    const operations: StoreOperation[] = [];
    const put = (key: string, value: unknown): void => {
      operations.push({ do: 'put', key, value: JSON.stringify(value) });
    };
    for (const app of appsOf(tree)) {
      if (this.#definitions.get(app.id)?.has(app.version)) continue;
      this.#remember(app);
      put(appKeys.definition(app.id, app.version), app);
    }
    this.#trees.set(tree.version, tree);
    put(appKeys.tree(tree.version), skeleton(tree));
    put(appKeys.current, { version: tree.version });
    for (const version of Array.from(this.#trees.keys()).slice(0, -MAX_TREES))
      if (!inUse.has(version)) operations.push(...this.#forget(version, tree));
    return operations;
  }

  #remember(app: App): void {
    const versions = this.#definitions.get(app.id);
    if (versions === undefined) this.#definitions.set(app.id, new Map([[app.version, app]]));
    else versions.set(app.version, app);
  }

  /** With the definitions that no tree has any more, but for the newest of apps that there are. */
  #forget(version: string, newest: Group): readonly StoreOperation[] {
    const tree = this.#trees.get(version);
    this.#trees.delete(version);
    const operations: StoreOperation[] = [{ do: 'delete', key: appKeys.tree(version) }];
    for (const { id, version: own } of tree === undefined ? [] : appsOf(tree)) {
      const isInTree = Array.from(this.#trees.values()).some((each) => findApp(each, id)?.version === own);
      const kept = findApp(newest, id) === undefined ? [] : this.versions(id).slice(0, MAX_VERSIONS);
      if (isInTree || kept.includes(own)) continue;
      const versions = this.#definitions.get(id);
      versions?.delete(own);
      if (versions?.size === 0) this.#definitions.delete(id);
      operations.push({ do: 'delete', key: appKeys.definition(id, own) });
    }
    return operations;
  }

  #restore(stored: StoredGroup): Group {
    const apps = stored.apps.map(([id, version]) => {
      const app = this.appAt(id, version);
      if (app !== undefined) return app;
      throw new PortolanError('corrupt', `Cannot find app "${id}" of version ${version} in the store`, {
        field: appKeys.definition(id, version),
        remedy: 'restore the state directory from a backup',
      });
    });
    return { ...stored, apps, groups: stored.groups.map((group) => this.#restore(group)) };
  }
}

function skeleton(tree: Group): StoredGroup {
  const apps = tree.apps.map(({ id, version }) => [id, version] as const);
  return { ...tree, apps, groups: tree.groups.map((group) => skeleton(group)) };
}
