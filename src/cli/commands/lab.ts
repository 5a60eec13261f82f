/** `portolan lab`: a cluster of network namespaces on this machine. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { labExec } from '../../lab/access.ts';
import { labDemo, tellStory } from '../../lab/demo.ts';
import { labDown } from '../../lab/down.ts';
import { labHeal, labPartition, labReboot, labStart, labStop, labUp } from '../../lab/lab.ts';
import { labPaths } from '../../lab/paths.ts';
import { labRun } from '../../lab/run.ts';
import type { LabState } from '../../lab/state.ts';
import { labStatus } from '../../lab/status.ts';
import type { PortMapping } from '../../model/endpoint.ts';
import { collectLabel, collectPort } from '../container-options.ts';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { outputOption } from '../output.ts';

interface LabChoice {
  readonly lab: string;
}

const statusColumns = ['host', 'role', 'underlay', 'state', 'vtep', 'blocks', 'nodes'] as const;

export function command(context: CliContext): Command {
  const lab = new Command('lab').description(
    'A cluster on this machine: hosts are network namespaces, the network between them a bridge without a way out.',
  );
  for (const verb of [up, status, down, exec, run, start, stop, kill, reboot, partition, heal])
    lab.addCommand(verb(context).addOption(labOption()));
  lab.addCommand(demo(context));
  return lab;
}

function labOption(): Option {
  return new Option('--lab <name>', 'which lab').default('lab');
}

function count(text: string): number {
  if (/^[0-9]{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give a whole number.');
}

function up(context: CliContext): Command {
  return new Command('up')
    .description('Bring the lab up, mend it, or add hosts to it.')
    .option('--hosts <n>', 'agents (default 3)', count)
    .option('--masters <n>', 'masters (default 1)', count)
    .addOption(new Option('--store <kind>', "the masters' store").choices(['embedded']).default('embedded'))
    .option('--docker', 'one dockerd per agent')
    .action(async (options: LabChoice & { hosts?: number; masters?: number; docker?: boolean }) => {
      const begin = performance.now();
      const { lab, hosts, masters, docker } = options;
      const chosen = {
        ...(hosts === undefined ? {} : { hosts }),
        ...(masters === undefined ? {} : { masters }),
        ...(docker === undefined ? {} : { docker }),
      };
      const state = await labUp(lab, chosen, (line) => context.say(line));
      const { rows } = await labStatus(lab);
      context.print(rows, { output: 'table', columns: statusColumns });
      sayHow(context, state, performance.now() - begin);
    });
}

function sayHow(context: CliContext, state: LabState, tookMs: number): void {
  context.say(`lab "${state.name}" is up after ${(tookMs / 1000).toFixed(1)} s`);
  context.say(`API: unix://${labPaths(state.name).apiSocket} and http://127.0.0.1:${state.apiPort ?? '-'}`);
}

function status(context: CliContext): Command {
  return new Command('status')
    .description('Hosts, their state and their address blocks.')
    .addOption(outputOption())
    .action(async (options: LabChoice & { output: OutputFormat }) => {
      const { rows } = await labStatus(options.lab);
      context.print(rows, { output: options.output, columns: statusColumns });
    });
}

function down(context: CliContext): Command {
  return new Command('down')
    .description('End the lab and leave nothing of it; also of one that was half made.')
    .action((options: LabChoice) => labDown(options.lab, (line) => context.say(line)));
}

function exec(_context: CliContext): Command {
  return new Command('exec')
    .description("Run a command on a host, with this terminal and the command's exit status.")
    .usage('HOST [options] -- COMMAND [ARG...]')
    .argument('<host>', 'as "lab status" names it')
    .argument('<command...>', 'the program and its arguments')
    .action(async (host: string, argv: readonly string[], options: LabChoice) => {
      process.exitCode = await labExec(options.lab, host, argv);
    });
}

interface RunOptions extends LabChoice {
  readonly name: string;
  readonly network?: string;
  readonly runtime: 'native' | 'docker';
  readonly publish: readonly PortMapping[];
  readonly label: Readonly<Record<string, string>>;
  readonly quiet: boolean;
}

function run(context: CliContext): Command {
  return new Command('run')
    .description('Start a container on a host, in the background; prints its id and addresses.')
    .usage('HOST --name NAME [options] -- COMMAND [ARG...]')
    .argument('<host>', 'as "lab status" names it')
    .argument('<command...>', 'the program and its arguments')
    .requiredOption('--name <name>', "the container's name")
    .option('--network <overlay>', 'the overlay (default: the first)')
    .addOption(
      new Option('--runtime <runtime>', 'what runs it').choices(['native', 'docker']).default('native'),
    )
    .option(
      '--publish <port:port>',
      '[hostIP:]hostPort:containerPort[/protocol]; may be repeated',
      collectPort,
      [],
    )
    .option('--label <key=value>', 'a label; may be repeated', collectLabel, {})
    .option('-q, --quiet', 'print only its first address', false)
    .action(async (host: string, argv: readonly string[], options: RunOptions) => {
      const { lab, name, network, runtime, publish: ports, label: labels } = options;
      const chosen = { lab, host, name, argv, runtime, ports, labels };
      const container = await labRun(network === undefined ? chosen : { ...chosen, network });
      if (options.quiet) process.stdout.write(`${container.addresses[0] ?? ''}\n`);
      else
        context.print([{ ...container, host }], {
          output: 'table',
          columns: ['id', 'name', 'host', 'addresses'],
        });
    });
}

function start(context: CliContext): Command {
  return new Command('start')
    .description("Start a host's daemons, and the host when it is off.")
    .argument('<host>')
    .action((host: string, options: LabChoice) => labStart(options.lab, host, (line) => context.say(line)));
}

function stop(context: CliContext): Command {
  return new Command('stop')
    .description("End a host's daemons gracefully; containers keep running.")
    .argument('<host>')
    .action(async (host: string, options: LabChoice) => {
      await labStop(options.lab, host, 'SIGTERM');
      context.say(`the daemons of ${host} are stopped`);
    });
}

function kill(context: CliContext): Command {
  return new Command('kill')
    .description("Kill a host's daemons (SIGKILL); containers keep running.")
    .argument('<host>')
    .action(async (host: string, options: LabChoice) => {
      await labStop(options.lab, host, 'SIGKILL');
      context.say(`the daemons of ${host} are killed`);
    });
}

function reboot(context: CliContext): Command {
  return new Command('reboot')
    .description('Power cut and start: namespaces, memory and /run are lost, the disk is kept.')
    .argument('<host>')
    .action((host: string, options: LabChoice) => labReboot(options.lab, host, (line) => context.say(line)));
}

function partition(context: CliContext): Command {
  return new Command('partition')
    .description('Cut hosts off from all others; among themselves they still talk.')
    .argument('<host...>')
    .action(async (hosts: readonly string[], options: LabChoice) => {
      const cut = await labPartition(options.lab, hosts);
      context.say(`cut off: ${cut.join(', ')}`);
    });
}

function heal(context: CliContext): Command {
  return new Command('heal').description('Undo a partition.').action(async (options: LabChoice) => {
    await labHeal(options.lab);
    context.say('all hosts reach each other again');
  });
}

/** A lab of its own, so that it never ends the user's. */
function demo(context: CliContext): Command {
  return new Command('demo')
    .description('Tell what Portolan does on a lab of its own, each step checked; leaves nothing behind.')
    .addOption(new Option('--lab <name>', "the demo's lab").default('demo'))
    .addOption(new Option('--tell', 'only tell; whoever calls cleans up').hideHelp())
    .action(async (options: LabChoice & { tell?: boolean }) => {
      const output = {
        say: (line: string) => void process.stdout.write(`${line}\n`),
        table: (rows: readonly Row[]) => context.print(rows, { output: 'table' }),
      };
      const code = await (options.tell === true ? tellStory : labDemo)(options.lab, output);
      // The handlers for Ctrl-C would keep the process.
      process.exit(code);
    });
}
