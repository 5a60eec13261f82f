/** The command line of the simulator. */
import { protocols, type ProtocolName } from './protocol.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios/index.ts';

export interface Options {
  readonly scenarios: readonly Scenario[];
  readonly protocol: ProtocolName;
  readonly nodes: number;
  readonly seed: number;
  readonly recordsPerNode: number;
  readonly durationMs: number | undefined;
  readonly json: boolean;
  readonly verbose: boolean;
}

export const usage = `usage: npm run sim -- [options]

Runs the shipped record exchange on many nodes under virtual time. The same options give the same run.

  --scenario NAME   one of those below, or "all" (default change)
  --nodes N         1 to 5000 (default 100)
  --seed N          (default 1)
  --records N       records of each node at the start (default 1)
  --seconds N       virtual length of the main part (default: the scenario's own)
  --protocol NAME   ${Object.keys(protocols).join(' or ')} (default portolan)
  --json            one JSON object for each scenario
  --verbose         the nodes' logs, on standard error
  --help

Exit codes: 0 nothing that must not happen has happened, 1 something has, 2 wrong usage.

Scenarios:
${scenarios.map(({ name, about }) => `  ${name.padEnd(17)} ${about}`).join('\n')}
`;

export type Parsed =
  | { readonly is: 'options'; readonly options: Options }
  | { readonly is: 'help' }
  | { readonly is: 'wrong'; readonly reason: string };

const VALUED = ['--scenario', '--nodes', '--seed', '--records', '--seconds', '--protocol'] as const;
const FLAGS = ['--json', '--verbose'] as const;

class WrongUsage extends Error {}

export function parseOptions(args: readonly string[]): Parsed {
  if (args.includes('--help') || args.includes('-h')) return { is: 'help' };
  try {
    return { is: 'options', options: toOptions(readArguments(args)) };
  } catch (error) {
    if (error instanceof WrongUsage) return { is: 'wrong', reason: error.message };
    throw error;
  }
}

function readArguments(args: readonly string[]): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const [name = '', inline] = (args[i] ?? '').split(/=(.*)/s);
    const isValued = VALUED.some((each) => each === name);
    if (!isValued && !FLAGS.some((each) => each === name))
      throw new WrongUsage(`no such option "${args[i]}"`);
    if (given.has(name)) throw new WrongUsage(`"${name}" is given twice`);
    const value = isValued ? (inline ?? args[++i]) : inline === undefined ? '' : undefined;
    if (value === undefined)
      throw new WrongUsage(isValued ? `"${name}" needs a value` : `"${name}" takes no value`);
    given.set(name, value);
  }
  return given;
}

function toOptions(given: ReadonlyMap<string, string>): Options {
  const name = given.get('--scenario') ?? 'change';
  const chosen = name === 'all' ? scenarios : scenarios.filter((scenario) => scenario.name === name);
  if (chosen.length === 0)
    throw new WrongUsage(`no scenario "${name}"; there are ${scenarios.map((each) => each.name).join(', ')}`);
  const protocol = given.get('--protocol') ?? 'portolan';
  if (!Object.hasOwn(protocols, protocol))
    throw new WrongUsage(`no protocol "${protocol}"; there are ${Object.keys(protocols).join(', ')}`);
  return {
    scenarios: chosen,
    protocol: protocol as ProtocolName,
    nodes: whole(given, '--nodes', 100, 1, 5_000),
    seed: whole(given, '--seed', 1, 0, 2 ** 32 - 1),
    recordsPerNode: whole(given, '--records', 1, 1, 1_000),
    durationMs: given.has('--seconds') ? 1000 * whole(given, '--seconds', 0, 1, 604_800) : undefined,
    json: given.has('--json'),
    verbose: given.has('--verbose'),
  };
}

function whole(
  given: ReadonlyMap<string, string>,
  name: string,
  otherwise: number,
  least: number,
  most: number,
): number {
  const text = given.get(name);
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new WrongUsage(`"${name}" is a whole number from ${least} to ${most}, not "${text}"`);
  return value;
}

/** The one command that repeats a run. */
export function command(options: Options, scenario: Scenario): string {
  const { nodes, seed, protocol, recordsPerNode, durationMs } = options;
  const more = [
    ...(protocol === 'portolan' ? [] : [`--protocol ${protocol}`]),
    ...(recordsPerNode === 1 ? [] : [`--records ${recordsPerNode}`]),
    ...(durationMs === undefined ? [] : [`--seconds ${durationMs / 1000}`]),
  ];
  return ['npm run sim --', `--scenario ${scenario.name} --nodes ${nodes} --seed ${seed}`, ...more].join(' ');
}
