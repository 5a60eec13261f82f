/** `portolan app apply|ls|inspect|scale|restart|rm`: Marathon apps, without another program. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { absoluteId } from '../../apps/ids.ts';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { readDefinition } from '../definition-file.ts';
import { refusalError } from '../definition-refusal.ts';
import { followDeployment } from '../deployment-follow.ts';
import { appPath, apps, callMarathon, deployed, type AppStatus, type MarathonCall } from '../marathon.ts';
import { outputOption } from '../output.ts';

interface ChangeOptions {
  readonly force: boolean;
  readonly wait: boolean;
  readonly patience: number;
}

export function command(context: CliContext): Command {
  const app = new Command('app').description('Apps: what is to run, how often, and with which addresses.');
  for (const verb of [apply, list, inspect, scale, restart, remove]) app.addCommand(verb(context));
  return app;
}

function seconds(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number of seconds.');
}

function count(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number.');
}

/** Options of everything that begins a deployment. */
function changing(command: Command): Command {
  return command
    .option('-f, --force', 'also while another deployment changes the same apps: it is cancelled', false)
    .option('--no-wait', 'do not wait for the deployment')
    .addOption(
      new Option(
        '--patience <seconds>',
        'when it has come no farther for so long, the deployment counts as stuck',
      )
        .argParser(seconds)
        .default(60),
    );
}

async function change(
  context: CliContext,
  call: MarathonCall,
  ids: readonly string[],
  { wait, patience }: ChangeOptions,
): Promise<void> {
  const { deploymentId } = await callMarathon(context, deployed, call);
  context.say(`deployment ${deploymentId}`);
  if (!wait) return;
  await followDeployment(context, { deploymentId, apps: ids, patienceMs: patience * 1000 });
  context.say('done');
}

function apply(context: CliContext): Command {
  return changing(
    new Command('apply')
      .description('Create or update what a file holds, and show how it goes until it is done or stuck.')
      .argument(
        '<file>',
        'an app, a list of apps or a group in JSON or YAML, as Marathon takes it; - = standard input',
      ),
  ).action(async (file: string, options: ChangeOptions) => {
    const definition = readDefinition(file, options);
    await change(context, definition.call, definition.apps, options).catch((error: unknown) => {
      throw refusalError(error, definition.call.body, file === '-' ? 'standard input' : file);
    });
  });
}

function list(context: CliContext): Command {
  return new Command('ls')
    .description('List apps.')
    .option('-l, --label <selector>', 'only those with these labels, such as env==prod')
    .addOption(outputOption())
    .action(async ({ output, label }: { output: OutputFormat; label?: string }) => {
      const query = label === undefined ? '' : `?label=${encodeURIComponent(label)}`;
      if (output !== 'table') {
        const { apps: all } = await callMarathon(context, z.object({ apps: z.array(z.looseObject({})) }), {
          method: 'GET',
          path: `/v2/apps${query}`,
        });
        return context.print(all, { output });
      }
      const found = await callMarathon(context, apps, { method: 'GET', path: `/v2/apps${query}` });
      context.print(found.apps.map(row), {
        output,
        columns: ['id', 'running', 'healthy', 'cpus', 'mem', 'networks', 'deployment'],
      });
    });
}

function row(app: AppStatus): Row {
  const checked = app.tasksHealthy + app.tasksUnhealthy;
  return {
    id: app.id,
    running: `${app.tasksRunning}/${app.instances}`,
    healthy: checked === 0 ? '' : `${app.tasksHealthy}/${checked}`,
    cpus: app.cpus,
    mem: app.mem,
    networks: app.networks.map(({ mode, name }) => name ?? mode),
    deployment: app.deployments.map(({ id }) => id),
  };
}

function inspect(context: CliContext): Command {
  return new Command('inspect')
    .description('Show an app with its tasks.')
    .argument('<id>')
    .addOption(outputOption().default('yaml'))
    .action(async (id: string, { output }: { output: OutputFormat }) => {
      const path = `/v2/apps${appPath(id)}`;
      const { app } = await callMarathon(context, z.object({ app: z.looseObject({}) }), {
        method: 'GET',
        path,
      });
      context.print(app, { output });
    });
}

function scale(context: CliContext): Command {
  return changing(
    new Command('scale')
      .description('Change the number of instances.')
      .argument('<id>')
      .argument('<instances>', 'how many there shall be', count),
  ).action(async (id: string, instances: number, options: ChangeOptions) => {
    const path = `/v2/apps${appPath(id)}?force=${String(options.force)}`;
    // An id that nobody has must not become an app.
    await callMarathon(context, z.unknown(), { method: 'GET', path: `/v2/apps${appPath(id)}` });
    const call: MarathonCall = { method: 'PUT', path, body: { instances } };
    await change(context, call, [absoluteId(id)], options);
  });
}

function restart(context: CliContext): Command {
  return changing(
    new Command('restart').description('Replace every task of an app, as an upgrade does.').argument('<id>'),
  ).action(async (id: string, options: ChangeOptions) => {
    const path = `/v2/apps${appPath(id)}/restart?force=${String(options.force)}`;
    await change(context, { method: 'POST', path }, [absoluteId(id)], options);
  });
}

function remove(context: CliContext): Command {
  return changing(
    new Command('rm').description('Remove apps, and end their tasks.').argument('<id...>'),
  ).action(async (ids: readonly string[], options: ChangeOptions) => {
    for (const id of ids) {
      const path = `/v2/apps${appPath(id)}?force=${String(options.force)}`;
      await change(context, { method: 'DELETE', path }, [absoluteId(id)], options);
      context.say(`${absoluteId(id)} is removed`);
    }
  });
}
