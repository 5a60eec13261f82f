/** `portolan task ls|kill|logs|exec`: what runs of apps. */
import { Command } from 'commander';
import { z } from 'zod';
import { labWords } from '../../lab/access.ts';
import { taskExec } from '../../model/task-api.ts';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { appPath, callMarathon, deployed, tasks, type Task } from '../marathon.ts';
import {
  commandOf,
  execInContainer,
  interactiveOption,
  terminalOption,
  wantsTerminal,
  type TerminalOptions,
} from '../exec-attached.ts';
import { printLogAt } from '../follow-log.ts';
import { outputOption } from '../output.ts';
import { followTask } from '../task-follow.ts';
import { findTask, findTaskHost, localPath } from '../task-host.ts';

export function command(context: CliContext): Command {
  const task = new Command('task').description('Tasks: what runs of apps.').enablePositionalOptions();
  for (const verb of [list, kill, logs, exec]) task.addCommand(verb(context));
  return task;
}

function list(context: CliContext): Command {
  return new Command('ls')
    .description('List tasks.')
    .argument('[app]', 'only those of this app')
    .addOption(outputOption())
    .action(async (app: string | undefined, { output }: { output: OutputFormat }) => {
      const path = app === undefined ? '/v2/tasks' : `/v2/apps${appPath(app)}/tasks`;
      const found = await callMarathon(context, tasks, { method: 'GET', path });
      context.print(output === 'table' ? found.tasks.map(row) : found.tasks, {
        output,
        columns: ['id', 'app', 'state', 'host', 'addresses', 'ports', 'healthy', 'started'],
      });
    });
}

function row(task: Task): Row {
  const {
    id,
    appId: app,
    state,
    host,
    ports,
    ipAddresses,
    healthCheckResults: checks = [],
    startedAt,
  } = task;
  return {
    id,
    app,
    state,
    host,
    addresses: ipAddresses.map(({ ipAddress }) => ipAddress),
    ports,
    healthy: checks.length === 0 ? '' : checks.every(({ alive }) => alive) ? 'yes' : 'no',
    started: startedAt,
  };
}

interface KillOptions {
  readonly scale: boolean;
  readonly wipe: boolean;
  readonly force: boolean;
}

function kill(context: CliContext): Command {
  return new Command('kill')
    .description('End tasks; others take their place, unless --scale.')
    .argument('<task...>', 'their ids, or the beginnings of them')
    .option('--scale', 'with so many instances fewer', false)
    .option('--wipe', 'remove their persistent volumes too', false)
    .option('-f, --force', 'also while a deployment changes their apps', false)
    .action(async (references: readonly string[], { scale, wipe, force }: KillOptions) => {
      const ids: string[] = [];
      for (const reference of references) ids.push((await findTask(context, reference)).id);
      const path = `/v2/tasks/delete?scale=${String(scale)}&wipe=${String(wipe)}&force=${String(force)}`;
      const answer = await callMarathon(context, z.unknown(), { method: 'POST', path, body: { ids } });
      const deployment = deployed.safeParse(answer);
      for (const id of ids) context.say(`${id} is being ended`);
      if (deployment.success) context.say(`deployment ${deployment.data.deploymentId}`);
    });
}

function logs(context: CliContext): Command {
  return new Command('logs')
    .description('Print what a task has written, standard output and error each to its own.')
    .argument('<task>', 'its id, or the beginning of it')
    .option('-f, --follow', 'go on until the task ends', false)
    .action(async (reference: string, { follow }: { follow: boolean }) => {
      const host = await findTaskHost(context, reference);
      if (follow) await followTask(context, host);
      else await printLogAt(context, `${localPath(host.task.id)}/logs`, 0, host.agent);
    });
}

function exec(context: CliContext): Command {
  return new Command('exec')
    .description("Run a command in a task's container, with this terminal and the command's exit status.")
    .usage('[options] TASK [--] COMMAND [ARG...]')
    .argument('<task>', 'its id, or the beginning of it')
    .argument('<command...>', 'the program and its arguments')
    .passThroughOptions()
    .addOption(interactiveOption())
    .addOption(terminalOption())
    .action(async (reference: string, words: readonly string[], options: TerminalOptions) => {
      const terminal = wantsTerminal(options);
      const { task, agent, lab } = await findTaskHost(context, reference);
      const path = `${localPath(task.id)}/exec?terminal=${String(terminal)}`;
      const way = taskExec.parse(await context.call(agent, { method: 'GET', path })).words;
      const here = lab === undefined ? way : await labWords(lab.name, lab.host, way);
      process.exitCode = await execInContainer(here, commandOf(words), task.id);
    });
}
