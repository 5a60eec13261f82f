/**
 * What the API refuses of a definition, in words: Marathon's clients know its keys (`error.min`), people do not.
 *
 * The API's answer says what is wrong where. What was sent says the rest, by the schema that the API checks it with: which
 * limit, and which value is beyond it.
 */
import type { z } from 'zod';
import { issuePath } from '../apps/issues.ts';
import { appInput, appsInput, groupInput } from '../apps/schema.ts';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { formatPath } from '../model/config-issue.ts';

export interface RefusedMember {
  /** `/portDefinitions(0)/name` */
  readonly path: string;
  readonly errors: readonly string[];
}

/** `error` as it is for whoever wrote `body` into `file`; others are returned as they are. */
export function refusalError(error: unknown, body: unknown, file: string): unknown {
  const refused = refusedMembers(error);
  if (refused.length === 0) return error;
  const said = explainer(body);
  const lines = refused.flatMap(({ path, errors }) => errors.map((key) => said(path, key)));
  const field = memberName(refused[0]?.path ?? '/');
  return new PortolanError('invalid', `Cannot apply ${file}: ${lines.join('; ')}`, {
    ...(field === '' ? {} : { field }),
    remedy: 'correct the file and apply it again',
    cause: error,
  });
}

function refusedMembers(error: unknown): readonly RefusedMember[] {
  const refused = isPortolanError(error, 'invalid') ? error.details?.['refused'] : undefined;
  return Array.isArray(refused) ? (refused as readonly RefusedMember[]) : [];
}

function explainer(body: unknown): (path: string, key: string) => string {
  const found = schemaOf(body).safeParse(body, { reportInput: true }).error?.issues ?? [];
  const byPath = new Map(found.map((issue) => [issuePath(issue.path), issue]));
  return (path, key) => {
    const issue = byPath.get(path);
    if (!key.startsWith('error.')) return sentence(memberName(path), key);
    return issue === undefined
      ? sentence(memberName(path), keyWords(key))
      : sentence(formatPath(issue.path), issueWords(issue));
  };
}

/** Rules of the whole object are sentences of their own. */
function sentence(member: string, said: string): string {
  return member === '' ? said : `${member}: ${said}`;
}

function schemaOf(body: unknown): z.ZodType {
  if (Array.isArray(body)) return appsInput;
  const isGroup = typeof body === 'object' && body !== null && ('apps' in body || 'groups' in body);
  return isGroup ? groupInput : appInput;
}

/** `/portDefinitions(0)/name` as people write it: `portDefinitions[0].name`. */
export function memberName(path: string): string {
  return path
    .replaceAll(/\((\d+)\)/g, '[$1]')
    .replace(/^\//, '')
    .replaceAll('/', '.');
}

/** Without what was sent. */
export function keyWords(key: string): string {
  return words[key] ?? key;
}

const words: Readonly<Record<string, string>> = {
  'error.min': 'is less than it may be',
  'error.max': 'is more than it may be',
  'error.minLength': 'is too short',
  'error.maxLength': 'is too long',
  'error.pattern': 'has characters that it may not have',
  'error.path.missing': 'is missing',
  'error.invalid': 'has a form that is not understood',
  'error.unknown.enum.literal': 'is none of the words that it may be',
  'error.expected.jsnumber': 'must be a number',
  'error.expected.int': 'must be a whole number',
  'error.expected.jsstring': 'must be a text',
  'error.expected.jsboolean': 'must be true or false',
  'error.expected.jsarray': 'must be a list',
  'error.expected.jsobject': 'must be an object',
};

const expected: Readonly<Record<string, string>> = {
  number: 'a number',
  int: 'a whole number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function issueWords(issue: z.core.$ZodIssue): string {
  const { input } = issue;
  switch (issue.code) {
    case 'invalid_type':
      return input === undefined
        ? 'is missing'
        : `must be ${expected[issue.expected] ?? issue.expected}, and is ${shown(input)}`;
    case 'too_small':
      return limit('at least', issue.origin, issue.minimum, input);
    case 'too_big':
      return limit('at most', issue.origin, issue.maximum, input);
    case 'invalid_format':
      return `must fit ${issue.pattern ?? issue.format}, and is ${shown(input)}`;
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(', ')}; it is ${shown(input)}`;
    default:
      return keyWords('error.invalid');
  }
}

function limit(which: string, origin: string, bound: number | bigint, input: unknown): string {
  const s = Number(bound) === 1 ? '' : 's';
  if (origin === 'string') return `must have ${which} ${bound} character${s}`;
  if (origin === 'array') return `must have ${which} ${bound} member${s}`;
  return `must be ${which} ${bound}, and is ${shown(input)}`;
}

const MAX_SHOWN = 60;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
