/** Versions of definitions: what counts as no change, as scaling, and as a change of configuration. */
import { isDeepStrictEqual } from 'node:util';
import type { App } from '../model/app.ts';

/** Everything but the number of instances and the versions. */
export function isSameConfiguration(a: App, b: App): boolean {
  return isDeepStrictEqual(configurationOf(a), configurationOf(b));
}

function configurationOf({ instances: _i, version: _v, versionInfo: _info, ...configuration }: App): unknown {
  return configuration;
}

/**
 * `next` as it takes the place of `before` at `version`. `before` itself, when nothing changes.
 *
 * A task is of the current configuration when its version is at least `versionInfo.lastConfigChangeAt`.
 */
export function succeed(before: App | undefined, next: App, version: string): App {
  if (before === undefined || !isSameConfiguration(before, next))
    return { ...next, version, versionInfo: { lastScalingAt: version, lastConfigChangeAt: version } };
  if (before.instances === next.instances) return before;
  const { lastConfigChangeAt } = before.versionInfo;
  return { ...next, version, versionInfo: { lastScalingAt: version, lastConfigChangeAt } };
}
