/** What is wrong with a definition: by path, in Marathon's words, collected so that a caller sees everything at once. */
import type { z } from 'zod';
import { PortolanError } from '../base/errors.ts';

export interface Issue {
  /** `/container/portMappings(0)/name`; `/` is the whole object. */
  readonly path: string;
  readonly errors: readonly string[];
}

/** `types`: the JSON is not of the wanted shape. `rules`: it is, and breaks a rule. */
export type RefusalKind = 'types' | 'rules';

export interface RefusalDetails {
  readonly kind: RefusalKind;
  readonly issues: readonly Issue[];
}

export class Refused extends PortolanError {
  readonly kind: RefusalKind;
  readonly issues: readonly Issue[];

  constructor(kind: RefusalKind, issues: readonly Issue[]) {
    const grouped = byPath(issues);
    const said = grouped.map((issue) => `${issue.path}: ${issue.errors.join('; ')}`).join(', ');
    super('invalid', `Cannot accept the definition: ${said}`, { details: { issues: grouped } });
    this.kind = kind;
    this.issues = grouped;
  }
}

/** One rule broken, at `path`. */
export function refuse(path: string, error: string): never {
  throw new Refused('rules', [{ path, errors: [error] }]);
}

export function refuseAny(issues: readonly Issue[]): void {
  if (issues.length > 0) throw new Refused('rules', issues);
}

function byPath(issues: readonly Issue[]): Issue[] {
  const paths = new Map<string, Set<string>>();
  for (const { path, errors } of issues) {
    const known = paths.get(path) ?? new Set();
    for (const error of errors) known.add(error);
    paths.set(path, known);
  }
  return [...paths].map(([path, errors]) => ({ path, errors: [...errors] }));
}

/** `prefix` is where the object is in what was sent: `/apps(0)`. */
export function under(prefix: string, issues: readonly Issue[]): Issue[] {
  return issues.map((issue) => ({
    path: issue.path === '/' && prefix !== '' ? prefix : prefix + issue.path,
    errors: issue.errors,
  }));
}

/** Throws what the schema finds, with the keys that Marathon's clients know. */
export function parseInput<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(withoutNulls(json), { reportInput: true });
  if (parsed.success) return parsed.data;
  const found = parsed.error.issues.map((issue) => keyOf(issue));
  const kind = found.every((each) => each.kind === 'rules') ? 'rules' : 'types';
  throw new Refused(
    kind,
    found.map(({ path, key }) => ({ path, errors: [key] })),
  );
}

/** Groups in groups and all: deeper than any tree that a person oversees, and far from what a stack can hold. */
const MAX_DEPTH = 128;

/** A member that is null counts as absent. */
function withoutNulls(json: unknown, depth = 0): unknown {
  if (typeof json !== 'object' || json === null) return json;
  if (depth >= MAX_DEPTH) refuse('/', `must not be nested deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(json)) return json.map((each) => withoutNulls(each, depth + 1));
  const kept = Object.entries(json).filter(([, value]) => value !== null);
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutNulls(value, depth + 1)]));
}

/** `/portDefinitions(0)/name` */
export function issuePath(path: readonly PropertyKey[]): string {
  const text = path.map((part) => (typeof part === 'number' ? `(${part})` : `/${String(part)}`)).join('');
  return text === '' ? '/' : text;
}

const typeKeys: Readonly<Record<string, string>> = {
  number: 'error.expected.jsnumber',
  int: 'error.expected.int',
  string: 'error.expected.jsstring',
  boolean: 'error.expected.jsboolean',
  array: 'error.expected.jsarray',
  object: 'error.expected.jsobject',
  record: 'error.expected.jsobject',
};

function keyOf(issue: z.core.$ZodIssue): { path: string; kind: RefusalKind; key: string } {
  const path = issuePath(issue.path);
  const types = (key: string) => ({ path, kind: 'types' as const, key });
  const rules = (key: string) => ({ path, kind: 'rules' as const, key });
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return types('error.path.missing');
      if (issue.expected === 'int' && typeof issue.input !== 'number')
        return types('error.expected.jsnumber');
      return types(typeKeys[issue.expected] ?? 'error.expected.jsobject');
    case 'too_small':
      return rules(isNumeric(issue.origin) ? 'error.min' : 'error.minLength');
    case 'too_big':
      return rules(isNumeric(issue.origin) ? 'error.max' : 'error.maxLength');
    case 'invalid_format':
      return rules('error.pattern');
    case 'invalid_value':
      return typeof issue.input === 'string'
        ? rules('error.unknown.enum.literal')
        : types('error.expected.jsstring');
    case 'custom':
      return rules(issue.message);
    case 'invalid_union':
      return types('error.invalid');
    default:
      return types('error.invalid');
  }
}

const isNumeric = (origin: string): boolean => ['number', 'int', 'bigint'].includes(origin);
