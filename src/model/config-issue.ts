/** One schema issue in words a user of the file understands: which field, what is wrong, what to do. */
import type { z } from 'zod';

export interface ConfigIssue {
  /** `network.overlays[0].subnet`, as the user wrote it; empty for the whole file. */
  readonly field: string;
  readonly problem: string;
  readonly remedy: string;
}

export function describeIssue(schema: z.ZodType, issue: z.core.$ZodIssue | undefined): ConfigIssue {
  if (issue === undefined) return { field: '', problem: 'it does not fit', remedy: 'correct it' };
  if (issue.code === 'unrecognized_keys') return unknownKey(schema, issue.path, issue.keys[0] ?? '');
  const field = formatPath(issue.path);
  const missing = issue.code === 'invalid_type' && issue.input === undefined;
  if (missing)
    return {
      field,
      problem: `field "${field}" is missing`,
      remedy: `add it (${issue.expected}), see the reference`,
    };
  const where = field === '' ? '' : `field "${field}": `;
  return { field, problem: `${where}${issue.message}`, remedy: 'correct the value' };
}

function unknownKey(schema: z.ZodType, path: readonly PropertyKey[], key: string): ConfigIssue {
  const known = knownKeys(schema, path);
  const near = nearest(key, known);
  const field = formatPath([...path, key]);
  const list = known.length === 0 ? 'remove it' : `remove it; known here: ${known.join(', ')}`;
  return {
    field,
    problem: `unknown key "${field}"`,
    remedy: near === undefined ? list : `did you mean "${near}"?`,
  };
}

export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : (i > 0 ? '.' : '') + String(part)))
    .join('');
}

interface Definition {
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly element?: z.ZodType;
  readonly innerType?: z.ZodType;
}

/** Walks defaults, optionals, arrays and objects down to the object at `path`. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let definition = unwrap(schema);
  for (const part of path) {
    const next = typeof part === 'number' ? definition.element : definition.shape?.[String(part)];
    if (next === undefined) return [];
    definition = unwrap(next);
  }
  return Object.keys(definition.shape ?? {});
}

function unwrap(schema: z.ZodType): Definition {
  const definition = schema.def as Definition;
  return definition.innerType === undefined ? definition : unwrap(definition.innerType);
}

/** The known key at most a third of its length of edits away. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(key.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(key.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance, two rows. Keys are short; longer ones are cut. */
function editDistance(left: string, right: string): number {
  const a = left.slice(0, 64);
  const b = right.slice(0, 64);
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
