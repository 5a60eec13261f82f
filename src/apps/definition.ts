/**
 * From what a client sent to the app that is stored: a new app, and an update of one.
 *
 * Order of things as in Marathon: the shape, the rules of the old form, translation to the new form, meeting the stored
 * app, defaults, and then the rules of the whole.
 */
import type { App } from '../model/app.ts';
import { absoluteId, parentOf, ROOT } from './ids.ts';
import { refuse, refuseAny, Refused } from './issues.ts';
import { migrate, type Canonical, type NetworkNames } from './migrate.ts';
import { resolve } from './resolve.ts';
import type { AppInput } from './schema.ts';
import { appIssues, inputIssues } from './validate.ts';

export interface DefinitionInit {
  readonly names: NetworkNames;
  readonly version: string;
  /** The group that relative ids are in. */
  readonly base?: string;
}

/** Throws `Refused`. */
export function defineApp(input: AppInput, { names, version, base = ROOT }: DefinitionInit): App {
  const canonical = migrate(input, names);
  const { id } = canonical;
  if (id === undefined) throw new Refused('types', [{ path: '/id', errors: ['error.path.missing'] }]);
  refuseAny(inputIssues(canonical));
  const app = resolve({ ...canonical, id }, names, { base, version });
  refuseAny(appIssues(app));
  return app;
}

/** An app in a group must be in that group. Throws `Refused`. */
export function defineAppIn(group: string, input: AppInput, init: Omit<DefinitionInit, 'base'>): App {
  const app = defineApp(input, { ...init, base: group });
  if (parentOf(app.id) !== group)
    refuse('/id', `Identifier is not child of ${group}. Hint: use relative paths.`);
  return app;
}

/**
 * `stored` with the members of `input` in place of its own. Members are replaced whole: there is no merging inside
 * `container`, `labels` or `env`. Throws `Refused`.
 */
export function updateApp(stored: App, input: AppInput, init: DefinitionInit): App {
  const canonical = migrate(input, init.names);
  refuseAny(inputIssues(canonical));
  const merged: Canonical & { id: string } = {
    ...inputOf(stored, canonical),
    ...canonical,
    id: stored.id,
  };
  const app = resolve(merged, init.names, { base: parentOf(stored.id), version: init.version });
  refuseAny(appIssues(app));
  return app;
}

/** A stored app is a definition in the new form; what follows from what is updated is left out, to be derived again. */
function inputOf(stored: App, update: Canonical): Canonical {
  const { version: _version, versionInfo: _info, residency, portDefinitions, ...rest } = stored;
  const isNowHost = update.networks?.every((network) => network.mode === 'host') ?? true;
  return {
    ...rest,
    container: stored.container === undefined ? undefined : containerInput(stored.container, update),
    ...(residency === undefined || update.container !== undefined
      ? {}
      : { residency: residency as NonNullable<Canonical['residency']> }),
    // Ports of the host mean nothing in a namespace of one's own.
    ...(portDefinitions === undefined || !isNowHost ? {} : { portDefinitions }),
  };
}

/** With other networks, mappings are not limited to the old ones any more. */
function containerInput(
  { portMappings, ...rest }: NonNullable<App['container']>,
  update: Canonical,
): NonNullable<Canonical['container']> {
  const mappings =
    update.networks === undefined
      ? portMappings
      : portMappings?.map(({ networkNames: _names, ...mapping }) => mapping);
  return { ...rest, ...(mappings === undefined ? {} : { portMappings: mappings }) };
}

/** Of an update that names a version: nothing else but the id may be said. */
export function rollbackVersion(input: AppInput): string | undefined {
  const { version, id: _id, ...rest } = input;
  if (version === undefined) return undefined;
  if (Object.values(rest).some((value) => value !== undefined))
    refuse('/', "The 'version' field may only be combined with the 'id' field.");
  return version;
}

/** The id in the body may be absent, and is not another than that of the path. Throws `Refused`. */
export function idOfUpdate(input: AppInput, path: string | undefined): string {
  const { id } = input;
  if (path === undefined) {
    if (id === undefined) throw new Refused('types', [{ path: '/id', errors: ['error.path.missing'] }]);
    return mustNotBeRoot(absoluteId(id));
  }
  const wanted = mustNotBeRoot(absoluteId(path));
  if (id !== undefined && absoluteId(id) !== wanted && absoluteId(id, parentOf(wanted)) !== wanted)
    refuse('/id', `is not the id of the path, ${wanted}. Hint: leave it out.`);
  return wanted;
}

function mustNotBeRoot(id: string): string {
  if (id === ROOT) refuse('/', 'must not be root');
  return id;
}
