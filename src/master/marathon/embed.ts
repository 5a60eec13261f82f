/** What a client wants told along with apps: the `embed` query. Values that nobody knows are ignored, as Marathon does. */

export interface AppEmbed {
  readonly tasks: boolean;
  readonly counts: boolean;
  readonly deployments: boolean;
  readonly readiness: boolean;
  readonly lastTaskFailure: boolean;
  readonly taskStats: boolean;
}

export interface GroupEmbed {
  readonly apps: boolean;
  readonly groups: boolean;
  readonly pods: boolean;
}

/** `failures` is an old name for these three together. */
const FAILURES = ['lastTaskFailure', 'tasks', 'deployments'];

/** `apps.tasks`, `app.tasks`, `group.apps.tasks`: the same under three prefixes. */
export function appEmbed(values: readonly string[], always: readonly string[] = []): AppEmbed {
  const names = values.map((value) => /^(?:app|apps|group\.apps)\.(\w+)$/.exec(value)?.[1] ?? '');
  const wanted = new Set([...names, ...always]);
  if (wanted.has('failures')) for (const name of FAILURES) wanted.add(name);
  return {
    tasks: wanted.has('tasks'),
    counts: wanted.has('counts'),
    deployments: wanted.has('deployments'),
    readiness: wanted.has('readiness'),
    lastTaskFailure: wanted.has('lastTaskFailure'),
    taskStats: wanted.has('taskStats'),
  };
}

/** Without any wish, everything that a group holds. */
export function groupEmbed(values: readonly string[]): GroupEmbed {
  const wants = (name: string): boolean =>
    values.length === 0 || values.some((value) => value === name || value.startsWith(`${name}.`));
  return { apps: wants('group.apps'), groups: wants('group.groups'), pods: wants('group.pods') };
}
