/** Ids of apps and groups: paths such as `/outer/web`, relative ones resolved against a base as in a file system. */

export const ROOT = '/';

/** Resolves `.` and `..`; a relative id is one below `base`. The result begins with "/" and does not end with one. */
export function absoluteId(id: string, base = ROOT): string {
  const segments = id.startsWith('/') ? [] : segmentsOf(base);
  for (const segment of segmentsOf(id)) {
    if (segment === '.') continue;
    if (segment === '..') segments.pop();
    else segments.push(segment);
  }
  return `/${segments.join('/')}`;
}

export function segmentsOf(id: string): string[] {
  return id.split('/').filter((segment) => segment !== '');
}

/** The group an absolute id is in; of the root, the root. */
export function parentOf(id: string): string {
  const cut = id.lastIndexOf('/');
  return cut <= 0 ? ROOT : id.slice(0, cut);
}

/** True for the group itself too. */
export function isWithin(id: string, group: string): boolean {
  return group === ROOT || id === group || id.startsWith(`${group}/`);
}

/** The part of a task's id that comes from its app: `/outer/web` is `outer_web`. */
export function taskPrefix(id: string): string {
  return segmentsOf(id).join('_');
}

const SEGMENT =
  '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$';
const segment = /^(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])$/;
const RESERVED = ['restart', 'tasks', 'versions'];
/** A task's id holds its app's, an instance's number and a run's, and is at most 255 long. */
const MAX_LENGTH = 180;

/** What is wrong with an absolute id, in Marathon's words. */
export function idErrors(id: string): readonly string[] {
  const segments = segmentsOf(id);
  const errors: string[] = [];
  if (!segments.every((part) => segment.test(part)))
    errors.push(`must fully match regular expression '${SEGMENT}'`);
  if (RESERVED.includes(segments.at(-1) ?? ''))
    errors.push(`must not end with any of the following reserved keywords: ${RESERVED.join(', ')}`);
  if (id.length > MAX_LENGTH) errors.push(`must not be longer than ${MAX_LENGTH} characters`);
  return errors;
}
