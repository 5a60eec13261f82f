/** `portolan task`: what runs in the cluster, and on its own host what it writes and the way into it. */
import { Command } from 'commander';
import { z } from 'zod';
import { sleep } from '../../base/clock.ts';
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import { isTerminal, taskRecord, type TaskRecord } from '../../model/task.ts';
import { TASKS_LOCAL_PATH, taskExec } from '../../model/task-api.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { printLogAt } from '../follow-log.ts';
import { outputOption } from '../output.ts';
import { commandOf, runAttached } from '../run-attached.ts';

const POLL_MS = 100;

export function command(context: CliContext): Command {
  const task = new Command('task').description('Tasks: the runs of apps.').enablePositionalOptions();
  for (const verb of [list, kill, exec, logs]) task.addCommand(verb(context));
  return task;
}

/** As the Marathon API lists them. */
const listing = z.object({
  tasks: z.array(
    z.looseObject({
      id: z.string(),
      appId: z.string(),
      host: z.string().optional(),
      state: z.string().optional(),
      ports: z.array(z.int()).default([]),
      ipAddresses: z.array(z.looseObject({ ipAddress: z.string() })).default([]),
    }),
  ),
});

function list(context: CliContext): Command {
  return new Command('ls')
    .description('List the tasks of the cluster, or of one app.')
    .argument('[app]')
    .addOption(outputOption())
    .action(async (app: string | undefined, options: { output: OutputFormat }) => {
      const path = app === undefined ? '/v2/tasks' : `/v2/apps/${app.replace(/^\//, '')}/tasks`;
      const { tasks } = listing.parse(
        await context.call(await context.clusterApi(), { method: 'GET', path }),
      );
      const rows = tasks.map(({ id, appId, host, state, ports, ipAddresses }) => ({
        ...{ id, app: appId, host, state, ports },
        addresses: ipAddresses.map(({ ipAddress }) => ipAddress),
      }));
      const columns = ['id', 'app', 'state', 'host', 'addresses', 'ports'];
      context.print(options.output === 'table' ? rows : tasks, { output: options.output, columns });
    });
}

function kill(context: CliContext): Command {
  return new Command('kill')
    .description('End tasks. Others take their place, unless their app is to have fewer.')
    .argument('<task...>')
    .option('--scale', 'their app is to have as many fewer', false)
    .option('--wipe', 'their persistent volumes go as well', false)
    .action(async (ids: readonly string[], { scale, wipe }: { scale: boolean; wipe: boolean }) => {
      const path = `/v2/tasks/delete?scale=${scale}&wipe=${wipe}`;
      await context.call(await context.clusterApi(), { method: 'POST', path, body: { ids } });
      for (const id of ids) context.say(`${id} is being killed`);
    });
}

function exec(context: CliContext): Command {
  return new Command('exec')
    .description("Run a command in a task of this host, with this terminal and the command's exit status.")
    .usage('TASK [--] COMMAND [ARG...]')
    .argument('<task>', 'its id, or the beginning of its id')
    .argument('<command...>', 'the program and its arguments')
    .passThroughOptions()
    .action(async (reference: string, words: readonly string[]) => {
      const terminal = process.stdin.isTTY && process.stdout.isTTY;
      const path = `${pathOf(reference)}/exec?terminal=${terminal}`;
      const way = taskExec.parse(await local(context, reference, path)).words;
      process.exitCode = await runAttached([...way, ...commandOf(words)]);
    });
}

function logs(context: CliContext): Command {
  return new Command('logs')
    .description('Print what a task of this host has written, standard output and error each to its own.')
    .argument('<task>', 'its id, or the beginning of its id')
    .option('-f, --follow', 'go on until the task ends', false)
    .action(async (reference: string, options: { follow: boolean }) => {
      await inspect(context, reference);
      const path = `${pathOf(reference)}/logs`;
      for (let next = 0; ;) {
        // Asked first: what it wrote before it ended is in the log then.
        const { state } = await inspect(context, reference);
        next = await printLogAt(context, path, next);
        if (!options.follow || isTerminal(state)) return;
        await sleep(POLL_MS);
      }
    });
}

function pathOf(reference: string): string {
  return `${TASKS_LOCAL_PATH}/${encodeURIComponent(reference)}`;
}

async function inspect(context: CliContext, reference: string): Promise<TaskRecord> {
  return taskRecord.parse(await local(context, reference, pathOf(reference)));
}

/** Asks this host's agent; a task that it does not have is somewhere else. */
async function local(context: CliContext, reference: string, path: string): Promise<unknown> {
  try {
    return await context.call(await context.agentApi(), { method: 'GET', path });
  } catch (error) {
    if (!isPortolanError(error, 'not-found')) throw error;
    throw new PortolanError('not-found', `Cannot find task "${reference}" on this host`, {
      field: 'task',
      remedy: 'see on which host it is with "portolan task ls", and run this there',
      cause: error,
    });
  }
}
