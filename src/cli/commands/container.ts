/** `portolan container`: native containers on this agent. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { Command } from 'commander';
import { z } from 'zod';
import { PortolanError } from '../../base/errors.ts';
import { CONTAINERS_PATH, containerInfo, type ContainerInfo } from '../../model/container.ts';
import type { PortMapping } from '../../model/endpoint.ts';
import { collectLabel, collectPort } from '../container-options.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

const columns = ['id', 'name', 'network', 'addresses', 'state', 'ports', 'command'] as const;
const RUN_TIMEOUT_MS = 60_000;

export function command(context: CliContext): Command {
  const container = new Command('container').description(
    "Containers on this host's agent, run by runc on a copy-on-write view of the host's root.",
  );
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
  readonly output: OutputFormat;
}

function run(context: CliContext): Command {
  return new Command('run')
    .description('Start a container in the background; prints its id, name and addresses.')
    .argument('<command...>', 'after --')
    .option('--name <name>', 'a name (default: its id)')
    .option('--network <overlay>', 'the overlay (default: the first)')
    .option(
      '-p, --publish <port:port>',
      'hostPort:containerPort[/protocol]; may be repeated',
      collectPort,
      [],
    )
    .option('-l, --label <key=value>', 'a label; may be repeated', collectLabel, {})
    .option('-e, --env <key=value>', 'a variable of its environment; may be repeated', collectLabel, {})
    .option('-w, --workdir <dir>', 'its working directory', '/')
    .option('-d, --detach', 'in the background, as always')
    .addOption(outputOption())
    .action(async (argv: readonly string[], options: RunOptions) => {
      const { name, network, publish: ports, label: labels, env, workdir: cwd } = options;
      const body = { name, network, argv, ports, labels, env, cwd };
      const answer = await context.call(await context.agentApi(), {
        method: 'POST',
        path: CONTAINERS_PATH,
        body,
        timeoutMs: RUN_TIMEOUT_MS,
      });
      const info = containerInfo.parse(answer);
      context.print([row(info)], { output: options.output, columns: ['id', 'name', 'network', 'addresses'] });
    });
}

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

async function inspect(context: CliContext, reference: string): Promise<ContainerInfo> {
  const path = `${CONTAINERS_PATH}/${encodeURIComponent(reference)}`;
  return containerInfo.parse(await context.call(await context.agentApi(), { method: 'GET', path }));
}

/** runc itself is run here, with this terminal: no stream to carry through an API, none to break. */
function exec(context: CliContext): Command {
  return new Command('exec')
    .description("Run a command in a container, with this terminal and the command's exit status.")
    .argument('<container>')
    .argument('<command...>', 'after --')
    .action(async (reference: string, argv: readonly string[]) => {
      const info = await inspect(context, reference);
      if (info.state !== 'running')
        throw new PortolanError('conflict', `Cannot run a command in "${info.name}": it is ${info.state}`);
      const { runc_root: root } = await readListing(context);
      const terminal = process.stdin.isTTY && process.stdout.isTTY ? ['--tty'] : [];
      process.exitCode = await runAttached(['runc', '--root', root, 'exec', ...terminal, info.id, ...argv]);
    });
}

function runAttached(words: readonly string[]): Promise<number> {
  const [program = '', ...args] = words;
  process.on('SIGINT', () => undefined); // It is the command's to obey.
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}

function logs(context: CliContext): Command {
  return new Command('logs')
    .description('Print what a container has written.')
    .argument('<container>')
    .action(async (reference: string) => {
      const path = `${CONTAINERS_PATH}/${encodeURIComponent(reference)}/logs`;
      const text = await context.call(await context.agentApi(), { method: 'GET', path });
      process.stdout.write(String(text));
    });
}

function remove(context: CliContext): Command {
  return new Command('rm')
    .description('Remove containers and give their addresses back.')
    .argument('<container...>')
    .option('-f, --force', 'kill those that run', false)
    .action(async (references: readonly string[], options: { force: boolean }) => {
      const api = await context.agentApi();
      for (const reference of references) {
        const path = `${CONTAINERS_PATH}/${encodeURIComponent(reference)}?force=${String(options.force)}`;
        await context.call(api, { method: 'DELETE', path, timeoutMs: RUN_TIMEOUT_MS });
        context.say(`${reference} is removed`);
      }
    });
}
