/**
 * Configuration files: YAML or JSON, checked against a schema.
 *
 * Every refusal names the file, the field as the user wrote it, and what to do; a key we do not know is refused by
 * name, with the nearest key we do know, since a setting that is silently ignored is worse than a refused start.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { PortolanError } from '../base/errors.ts';
import { describeIssue } from './config-issue.ts';
import { parseYaml } from './yaml-text.ts';

const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** Reshapes what was read before the schema sees it: for files of other programs. */
export type ConfigAdapter = (raw: unknown) => unknown;

/**
 * Reads `file`; without one, `fallback` where it exists, else the schema's defaults.
 */
export async function loadConfigFile<Schema extends z.ZodType>(
  schema: Schema,
  file: string | undefined,
  fallback: string,
  adapt: ConfigAdapter = (raw) => raw,
): Promise<z.output<Schema>> {
  const path = file ?? (existsSync(fallback) ? fallback : undefined);
  if (path === undefined) return parseConfig(schema, adapt({}), 'the defaults');
  return parseConfig(schema, adapt(parseConfigText(await readConfigFile(path), path)), path);
}

async function readConfigFile(path: string): Promise<string> {
  try {
    const text = await readFile(path, 'utf8');
    if (text.length <= MAX_FILE_BYTES) return text;
  } catch (error) {
    throw new PortolanError('invalid', `Cannot read configuration "${path}": ${(error as Error).message}`, {
      field: 'config',
      remedy: 'name a readable YAML or JSON file',
      cause: error,
    });
  }
  throw new PortolanError(
    'invalid',
    `Cannot read configuration "${path}": larger than ${MAX_FILE_BYTES} bytes`,
    {
      field: 'config',
      remedy: 'name a configuration file',
    },
  );
}

/** An empty file is an empty object. */
export function parseConfigText(text: string, path: string): unknown {
  const parsed = parseYaml(text);
  if ('value' in parsed) return parsed.value ?? {};
  throw new PortolanError('invalid', `Cannot read configuration "${path}": ${parsed.problem}`, {
    field: 'config',
    remedy: 'correct the YAML or JSON there',
  });
}

/** Checks `raw`; `path` is where it came from. */
export function parseConfig<Schema extends z.ZodType>(
  schema: Schema,
  raw: unknown,
  path: string,
): z.output<Schema> {
  const parsed = schema.safeParse(raw, { reportInput: true });
  if (parsed.success) return parsed.data;
  // A misspelt key often explains a missing one, so it is told first.
  const { issues } = parsed.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  const { field, problem, remedy } = describeIssue(schema, issue);
  throw new PortolanError('invalid', `Cannot use configuration "${path}": ${problem}`, {
    ...(field === '' ? {} : { field }),
    remedy,
    details: { file: path, issues: issues.map((each) => describeIssue(schema, each).problem) },
  });
}
