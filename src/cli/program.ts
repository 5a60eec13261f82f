/**
 * The program `portolan`: one table of verbs, each loaded only when it is called.
 *
 * Invariants: `--help` names every verb without loading one; wrong usage exits with 2 and one line, failure with 1.
 */
import { Command, CommanderError, Help, Option } from 'commander';
import { describeError, isPortolanError } from '../base/errors.ts';
import { createCliContext, type CliContext } from './context.ts';
import { version } from '../base/version.ts';

interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<{ command(context: CliContext): Command }>;
}

const verbs: readonly Verb[] = [
  {
    name: 'lab',
    summary: 'a cluster of network namespaces on this machine',
    load: () => import('./commands/lab.ts'),
  },
  {
    name: 'init',
    summary: 'make this host the master of a new cluster',
    load: () => import('./commands/init.ts'),
  },
  { name: 'join', summary: 'make this host a node of a cluster', load: () => import('./commands/join.ts') },
  { name: 'leave', summary: 'take this host out of its cluster', load: () => import('./commands/leave.ts') },
  {
    name: 'token',
    summary: 'make, list and withdraw what hosts join with',
    load: () => import('./commands/token.ts'),
  },
  { name: 'master', summary: 'run the master daemon', load: () => import('./commands/master.ts') },
  { name: 'agent', summary: 'run the agent daemon', load: () => import('./commands/agent.ts') },
  { name: 'status', summary: 'the cluster at a glance', load: () => import('./commands/status.ts') },
  { name: 'node', summary: 'list, inspect and remove nodes', load: () => import('./commands/node.ts') },
  { name: 'network', summary: 'list, add and remove overlays', load: () => import('./commands/network.ts') },
  { name: 'vip', summary: 'list and inspect virtual IPs', load: () => import('./commands/vip.ts') },
  {
    name: 'app',
    summary: 'run apps: apply, list, inspect, scale, restart and remove them',
    load: () => import('./commands/app.ts'),
  },
  {
    name: 'deployment',
    summary: 'changes of apps that are going on',
    load: () => import('./commands/deployment.ts'),
  },
  {
    name: 'container',
    summary: 'run containers on this agent',
    load: () => import('./commands/container.ts'),
  },
  {
    name: 'task',
    summary: 'list and end tasks, run commands in them, read what they write',
    load: () => import('./commands/task.ts'),
  },
  {
    name: 'trace',
    summary: 'where a packet from A to B:port goes, and why it does not arrive',
    load: () => import('./commands/trace.ts'),
  },
  { name: 'dns', summary: 'ask for names as containers do', load: () => import('./commands/dns.ts') },
  {
    name: 'doctor',
    summary: 'check this host for what Portolan needs',
    load: () => import('./commands/doctor.ts'),
  },
  {
    name: 'uninstall',
    summary: "remove everything of Portolan's from this host",
    load: () => import('./commands/uninstall.ts'),
  },
  { name: 'version', summary: 'print the version', load: () => import('./commands/version.ts') },
];

/** Runs one command line; resolves to the exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const program = createProgram();
  const named: { api?: string } = {};
  const onApi = (address: string): void => void (named.api = address);
  program.on('option:api', onApi);
  const context = createCliContext({
    api: () => named.api,
    runDir: process.env['PORTOLAN_RUN_DIR'] ?? '/run/portolan',
    labRoot: '/run/portolan-lab',
  });
  try {
    const wanted = verbs.find((verb) => verb.name === verbOf(argv));
    for (const verb of verbs) {
      if (verb !== wanted) program.command(verb.name).summary(verb.summary).description(verb.summary);
      else {
        const loaded = configure((await verb.load()).command(context).summary(verb.summary));
        program.addCommand(takeApi(loaded, onApi));
      }
    }
    await program.parseAsync(argv, { from: 'user' });
    return process.exitCode === undefined ? 0 : Number(process.exitCode);
  } catch (error) {
    return exitCode(error);
  }
}

function createProgram(): Command {
  const program = new Command('portolan')
    .description('Every container its own IP address, reachable from every other one.')
    .option(API_OPTION, "the cluster's API: unix:///path or http://host:port (or PORTOLAN_API)")
    .version(version(), '-V, --version')
    .helpCommand(true)
    // What follows a verb is that verb's: of `container exec web sh -c x` the `-c` is the shell's.
    .enablePositionalOptions()
    .showHelpAfterError(false);
  return configure(program);
}

const API_OPTION = '--api <address>';

/** It may stand behind the verb as well, on every level. */
function takeApi(command: Command, onApi: (address: string) => void): Command {
  command.addOption(new Option(API_OPTION).hideHelp()).on('option:api', onApi);
  for (const child of command.commands) takeApi(child, onApi);
  return command;
}

/** Throws instead of exiting, on every level of sub-commands. */
function configure(command: Command): Command {
  command
    .exitOverride()
    .configureHelp({ optionDescription: describeOption })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'portolan: ')) });
  for (const child of command.commands) configure(child);
  return command;
}

/** Nothing as a default goes without saying. */
function describeOption(option: Option): string {
  const { defaultValue, description } = option as Option & { readonly defaultValue: unknown };
  const isNothing =
    defaultValue === false ||
    (typeof defaultValue === 'object' && Object.keys(defaultValue ?? {}).length === 0);
  return isNothing ? description : new Help().optionDescription(option);
}

/** The first word that is neither an option nor the value of `--api`. */
function verbOf(argv: readonly string[]): string | undefined {
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? '';
    if (word === '--api') i++;
    else if (word === 'help') continue;
    else if (!word.startsWith('-')) return word;
  }
  return undefined;
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  process.stderr.write(`portolan: ${describeError(error)}\n`);
  return isPortolanError(error, 'invalid') ? 2 : 1;
}
