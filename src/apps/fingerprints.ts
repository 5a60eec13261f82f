/** Whether an instance was launched from the configuration that is wanted: by a hash, as versions come back by rollback. */
import { createHash } from 'node:crypto';
import type { App } from '../model/app.ts';

export class Fingerprints {
  readonly #known = new WeakMap<App, string>();

  /** Of everything but the number of instances and the versions. */
  of(app: App): string {
    const known = this.#known.get(app);
    if (known !== undefined) return known;
    const { instances: _i, version: _v, versionInfo: _info, ...configuration } = app;
    const made = createHash('sha256').update(canonical(configuration)).digest('base64url').slice(0, 22);
    this.#known.set(app, made);
    return made;
  }
}

/** The same text whatever the order of members. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
