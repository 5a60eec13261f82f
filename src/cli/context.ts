/**
 * What every command is given: where the APIs are, and how to print.
 *
 * Invariants: a listing prints as a table for people or as JSON or YAML for programs, from the same rows; errors are
 * one line; exit codes are 0 ok, 1 failed, 2 wrong usage.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { stringify } from 'yaml';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { parseTarget, request, type HttpTarget, type RequestInit } from '../http/client.ts';
import { answerError } from './answer-error.ts';
import { printable } from './printable.ts';

export type OutputFormat = 'table' | 'json' | 'yaml';
/** Any object; its own properties are the columns. */
export type Row = object;

export interface PrintOptions {
  readonly output: OutputFormat;
  /** Columns of the table, in order; absent = the first row's keys. */
  readonly columns?: readonly string[];
}

export interface CliContext {
  /** The masters' API: `--api`, PORTOLAN_API, the only running lab, or this host's socket. */
  clusterApi(): Promise<HttpTarget>;
  /** The same; on a host that has only an agent, the first of the masters that it knows which answers. */
  masterApi(): Promise<HttpTarget>;
  /** This host's agent. */
  agentApi(): Promise<HttpTarget>;
  /** Calls an API and returns its body; an error answer becomes a PortolanError with the server's message. */
  call(
    target: HttpTarget,
    init: Omit<RequestInit, 'timeoutMs'> & { readonly timeoutMs?: number },
  ): Promise<unknown>;
  print(rows: readonly Row[] | Row, options: PrintOptions): void;
  /** One line of an answer for people, to standard output. */
  tell(line: string): void;
  /** One line for people, to standard error, so that standard output stays machine-readable. */
  say(line: string): void;
}

export interface CliContextInit {
  /** The value of `--api`. */
  readonly api: () => string | undefined;
  readonly runDir: string;
  readonly labRoot: string;
}

export function createCliContext(init: CliContextInit): CliContext {
  return {
    clusterApi: () => Promise.resolve(findClusterApi(init)),
    masterApi: () => findMasterApi(init),
    agentApi: () => Promise.resolve({ socketPath: join(init.runDir, 'agent.sock') }),
    call,
    print,
    tell: (line) => void process.stdout.write(`${printable(line)}\n`),
    say: (line) => void process.stderr.write(`${printable(line)}\n`),
  };
}

function findClusterApi(init: CliContextInit): HttpTarget {
  const named = init.api() ?? process.env['PORTOLAN_API'];
  if (named !== undefined) return parseTarget(named);
  const local = join(init.runDir, 'api.sock');
  if (existsSync(local)) return { socketPath: local };
  const labs = labSockets(init.labRoot);
  if (labs.length > 1)
    throw new PortolanError('invalid', `Cannot choose among ${labs.length} running labs`, {
      field: 'api',
      remedy: `name one with --api unix://${labs[0] ?? ''}`,
    });
  const agent = join(init.runDir, 'agent.sock');
  return { socketPath: labs[0] ?? (existsSync(agent) ? agent : local) };
}

async function findMasterApi(init: CliContextInit): Promise<HttpTarget> {
  const target = findClusterApi(init);
  if (!('socketPath' in target) || target.socketPath !== join(init.runDir, 'agent.sock')) return target;
  const { masters } = (await call(target, { method: 'GET', path: '/v1/masters' })) as { masters: string[] };
  for (const master of masters) {
    const candidate = parseTarget(master);
    const answers = await request(candidate, { method: 'GET', path: '/health', timeoutMs: 3_000 }).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (answers) return candidate;
  }
  throw new PortolanError('unavailable', 'Cannot ask a master: none answers', {
    remedy: `masters known to this host: ${masters.join(', ') || 'none'}; name another with --api`,
  });
}

function labSockets(labRoot: string): readonly string[] {
  if (!existsSync(labRoot)) return [];
  return readdirSync(labRoot)
    .map((lab) => join(labRoot, lab, 'api.sock'))
    .filter((path) => existsSync(path));
}

async function call(
  target: HttpTarget,
  init: Omit<RequestInit, 'timeoutMs'> & { readonly timeoutMs?: number },
): Promise<unknown> {
  const answer = await request(target, { timeoutMs: 30_000, ...init }).catch((error: unknown) => {
    throw 'socketPath' in target ? withRemedy(error, target.socketPath) : error;
  });
  if (answer.status < 400) return answer.body;
  throw answerError(answer);
}

/** A socket that nobody listens on: the daemon does not run, or the user is not on the host that they mean. */
function withRemedy(error: unknown, socketPath: string): unknown {
  if (!isPortolanError(error, 'unavailable') || error.remedy !== undefined) return error;
  // What is asked of this host's agent is asked of no other API.
  const other = socketPath.endsWith('/agent.sock') ? '' : ', name another API with --api,';
  return new PortolanError('unavailable', error.message, {
    remedy: `start the daemon of this host${other} or enter a lab host with "portolan lab exec"`,
    cause: error,
  });
}

function print(rows: readonly Row[] | Row, options: PrintOptions): void {
  if (options.output === 'json') process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
  else if (options.output === 'yaml') process.stdout.write(stringify(rows));
  else process.stdout.write(`${renderTable(Array.isArray(rows) ? rows : [rows as Row], options.columns)}\n`);
}

const plain = {
  chars: Object.fromEntries(
    ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
      .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'])
      .map((part) => [part, part === 'middle' ? '  ' : '']),
  ),
  style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
};

function renderTable(rows: readonly Row[], columns: readonly string[] | undefined): string {
  const names = columns ?? Object.keys(rows[0] ?? {});
  if (names.length === 0) return '(none)';
  const table = new Table({ head: names.map((name) => name.toUpperCase().replaceAll('_', ' ')), ...plain });
  for (const row of rows) table.push(names.map((name) => cell((row as Record<string, unknown>)[name])));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

function cell(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(cell).join(', ');
  return printable(
    typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean),
  );
}
