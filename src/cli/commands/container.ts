/** `portolan container`: native containers on this agent, with the words of `docker`. */
import { spawn } from 'node:child_process';
import { Command, Option } from 'commander';
import { z } from 'zod';
import { describeError, isPortolanError, PortolanError } from '../../base/errors.ts';
import { CONTAINERS_PATH, containerInfo, type ContainerInfo } from '../../model/container.ts';
import type { PortMapping } from '../../model/endpoint.ts';
import { containerPath, followContainer, inspectContainer, printLog } from '../container-follow.ts';
import { collectLabel, collectPort } from '../container-options.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { holdSignals } from '../held-signals.ts';
import { outputOption } from '../output.ts';
import { patient } from '../patience.ts';
import {
  commandOf,
  execInContainer,
  interactiveOption,
  terminalOption,
  wantsTerminal,
  type TerminalOptions,
} from '../exec-attached.ts';

const columns = ['id', 'name', 'network', 'addresses', 'state', 'ports', 'command'] as const;
const RUN_TIMEOUT_MS = 60_000;

export function command(context: CliContext): Command {
  const container = new Command('container')
    .description("Containers on this host's agent, run by runc on a copy-on-write view of the host's root.")
    .enablePositionalOptions();
  for (const verb of [run, list, exec, logs, remove]) container.addCommand(verb(context));
  return container;
}

interface RunOptions {
  readonly name?: string;
  readonly network?: string;
  readonly publish: readonly PortMapping[];
  readonly label: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly detach: boolean;
  readonly rm: boolean;
  readonly interactive?: true;
  readonly tty?: true;
  readonly output: OutputFormat;
}

function run(context: CliContext): Command {
  return new Command('run')
    .description(
      'Start a container. Without -d its output is shown until it ends, and its exit status is handed on.',
    )
    .usage('[options] [--] COMMAND [ARG...]')
    .argument('<command...>', 'the program and its arguments, as on the host')
    .passThroughOptions()
    .option('-d, --detach', 'leave it in the background; prints its id, name and addresses', false)
    .option('--rm', 'remove it when it has ended', false)
    .option('--name <name>', 'a name (default: its id)')
    .option('--network <overlay>', 'the overlay (default: the first)')
    .option(
      '-p, --publish <port:port>',
      '[hostIP:]hostPort:containerPort[/protocol]; may be repeated',
      collectPort,
      [],
    )
    .option('-l, --label <key=value>', 'a label; may be repeated', collectLabel, {})
    .option('-e, --env <key=value>', 'a variable of its environment; may be repeated', collectLabel, {})
    .option('-w, --workdir <dir>', 'its working directory', '/')
    .addOption(outputOption())
    .addOption(new Option('-i, --interactive').hideHelp())
    .addOption(new Option('-t, --tty').hideHelp())
    .action(async (words: readonly string[], options: RunOptions) => {
      if (options.interactive === true || options.tty === true) throw withoutInput();
      const { name, network, publish: ports, label: labels, env, workdir: cwd, detach, rm } = options;
      const argv = commandOf(words);
      const body = { name, network, argv, ports, labels, env, cwd, remove: detach && rm };
      // It may run before this knows it: whoever ends this now means the container, too.
      const takenBy = detach ? undefined : holdSignals();
      const info = await startContainer(context, body);
      if (info === undefined) return;
      if (takenBy === undefined)
        context.print([row(info)], {
          output: options.output,
          columns: ['id', 'name', 'network', 'addresses'],
        });
      else process.exitCode = await inForeground(context, info, takenBy, rm);
    });
}

/** A program that cannot be run is said in words, with the exit status that a shell would give, as by `exec`. */
async function startContainer(context: CliContext, body: object): Promise<ContainerInfo | undefined> {
  const init = { method: 'POST', path: CONTAINERS_PATH, body, timeoutMs: RUN_TIMEOUT_MS } as const;
  try {
    return containerInfo.parse(await context.call(await context.agentApi(), init));
  } catch (error) {
    const { exit_status: status } = (isPortolanError(error) ? error.details : undefined) ?? {};
    if (typeof status !== 'number') throw error;
    context.say(`portolan: ${describeError(error)}`);
    process.exitCode = status;
    return undefined;
  }
}

function withoutInput(): PortolanError {
  return new PortolanError('invalid', 'Cannot hand on standard input or a terminal to a new container', {
    field: '--interactive',
    remedy: 'start it with "-d --name NAME", then run "portolan container exec -it NAME PROGRAM"',
  });
}

/** Whoever ends this, or wants no more of its output, ends the container; resolves to its exit status. */
async function inForeground(
  context: CliContext,
  { id }: ContainerInfo,
  takenBy: ReturnType<typeof holdSignals>,
  rm: boolean,
): Promise<number> {
  const { runc_root: root } = await readListing(context);
  let asked = 0;
  const handOn = (signal: NodeJS.Signals): void => {
    // Signals that it has no handler for do not reach the first process of a container: the second one is final.
    const sent = asked++ === 0 ? signal : 'SIGKILL';
    spawn('runc', ['--root', root, 'kill', id, sent], { stdio: 'ignore' }).on('error', () => undefined);
  };
  takenBy(handOn);
  // As SIGPIPE would end it, were it a child (`container run yes | head`).
  process.stdout.removeAllListeners('error').on('error', () => handOn('SIGKILL'));
  const { exitCode = LOST_STATUS } = await followContainer(context, id);
  if (rm) await removeContainer(patient(context), id, false);
  return exitCode;
}
/** Its supervisor was killed as well and could not say how it ended. */
const LOST_STATUS = 125;

function row(info: ContainerInfo): Readonly<Record<string, unknown>> {
  return {
    ...info,
    state: info.exitCode === undefined ? info.state : `${info.state} (${info.exitCode})`,
    ports: info.ports.map((port) => `${port.hostPort}:${port.containerPort}/${port.protocol}`),
    command: info.argv.join(' ').slice(0, 60),
  };
}

const listing = z.object({ runc_root: z.string(), containers: z.array(containerInfo) });

async function readListing(context: CliContext): Promise<z.infer<typeof listing>> {
  return listing.parse(
    await context.call(await context.agentApi(), { method: 'GET', path: CONTAINERS_PATH }),
  );
}

function list(context: CliContext): Command {
  return new Command('ls')
    .description('List containers, also those that have ended.')
    .addOption(outputOption())
    .action(async (options: { output: OutputFormat }) => {
      const { containers } = await readListing(context);
      const rows = options.output === 'table' ? containers.map(row) : containers;
      context.print(rows, { output: options.output, columns });
    });
}

/** runc itself is run here, with this terminal: no stream to carry through an API, none to break. */
function exec(context: CliContext): Command {
  return new Command('exec')
    .description("Run a command in a container, with this terminal and the command's exit status.")
    .usage('[options] CONTAINER [--] COMMAND [ARG...]')
    .argument('<container>', 'its id, the beginning of its id, or its name')
    .argument('<command...>', 'the program and its arguments')
    .passThroughOptions()
    .addOption(interactiveOption())
    .addOption(terminalOption())
    .action(async (reference: string, words: readonly string[], options: TerminalOptions) => {
      const terminal = wantsTerminal(options) ? ['--tty'] : [];
      const info = await inspectContainer(context, reference);
      if (info.state !== 'running')
        throw new PortolanError('conflict', `Cannot run a command in "${info.name}": it is ${info.state}`);
      const { runc_root: root } = await readListing(context);
      const way = ['runc', '--root', root, 'exec', ...terminal, info.id];
      process.exitCode = await execInContainer(way, commandOf(words), info.name);
    });
}

function logs(context: CliContext): Command {
  return new Command('logs')
    .description('Print what a container has written, standard output and error each to its own.')
    .argument('<container>')
    .option('-f, --follow', 'go on until the container ends', false)
    .action(async (reference: string, options: { follow: boolean }) => {
      // An agent that does not run when it is asked first is not waited for.
      const { id } = await inspectContainer(context, reference);
      if (options.follow) await followContainer(context, id);
      else await printLog(context, id, 0);
    });
}

function remove(context: CliContext): Command {
  return new Command('rm')
    .description('Remove containers and give their addresses back.')
    .argument('<container...>')
    .option('-f, --force', 'kill those that run', false)
    .action(async (references: readonly string[], options: { force: boolean }) => {
      for (const reference of references)
        try {
          await removeContainer(context, reference, options.force);
          context.say(`${reference} is removed`);
        } catch (error) {
          // The others are removed all the same, as by `docker rm`.
          context.say(`portolan: ${describeError(error)}`);
          process.exitCode = 1;
        }
    });
}

async function removeContainer(context: CliContext, reference: string, force: boolean): Promise<void> {
  const path = `${containerPath(reference)}?force=${String(force)}`;
  await context.call(await context.agentApi(), { method: 'DELETE', path, timeoutMs: RUN_TIMEOUT_MS });
}
