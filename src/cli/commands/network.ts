/** `portolan network ls|inspect|add|rm`: the overlays of the cluster. */
import { Command, InvalidArgumentError } from 'commander';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { outputOption } from '../output.ts';

interface Output {
  readonly output: OutputFormat;
}

interface AddOptions {
  readonly subnet?: string;
  readonly prefix?: number;
  readonly subnet6?: string;
  readonly prefix6?: number;
}

export function command(context: CliContext): Command {
  return new Command('network')
    .description('Overlays: the networks that containers are in.')
    .addCommand(listCommand(context))
    .addCommand(inspectCommand(context))
    .addCommand(addCommand(context))
    .addCommand(removeCommand(context));
}

function listCommand(context: CliContext): Command {
  return new Command('ls')
    .description('List all overlays.')
    .addOption(outputOption())
    .action(async ({ output }: Output) => {
      const { networks } = (await context.call(await context.masterApi(), {
        method: 'GET',
        path: '/v1/networks',
      })) as { networks: readonly Row[] };
      const columns = [
        'name',
        'subnet',
        'prefix',
        'subnet6',
        'prefix6',
        'enabled',
        'nodes',
        'free_blocks',
        'source',
      ];
      context.print(networks, { output, columns });
    });
}

function inspectCommand(context: CliContext): Command {
  return new Command('inspect')
    .description('Show an overlay and which node holds which block.')
    .argument('<name>', 'name of the overlay')
    .addOption(outputOption().default('yaml'))
    .action(async (name: string, { output }: Output) => {
      const path = `/v1/networks/${encodeURIComponent(name)}`;
      context.print((await context.call(await context.masterApi(), { method: 'GET', path })) as Row, {
        output,
      });
    });
}

function addCommand(context: CliContext): Command {
  return new Command('add')
    .description('Add an overlay: every agent gets a block of it within seconds.')
    .argument('<name>', 'at most 13 characters')
    .option('--subnet <network>', 'IPv4 space, such as 10.64.0.0/16')
    .option('--prefix <length>', 'length of the block each agent gets', length)
    .option('--subnet6 <network>', 'IPv6 space')
    .option('--prefix6 <length>', 'length of the IPv6 block each agent gets', length)
    .action(async (name: string, options: AddOptions) => {
      const body = { name, ...options, enabled: true };
      await context.call(await context.masterApi(), { method: 'POST', path: '/v1/networks', body });
      context.say(`added ${name}`);
    });
}

function removeCommand(context: CliContext): Command {
  return new Command('rm')
    .description('Remove overlays that were added with "add" and of which no node holds a block.')
    .argument('<name...>', 'names of overlays')
    .action(async (names: readonly string[]) => {
      const api = await context.masterApi();
      for (const name of names) {
        await context.call(api, { method: 'DELETE', path: `/v1/networks/${encodeURIComponent(name)}` });
        context.say(`removed ${name}`);
      }
    });
}

function length(text: string): number {
  if (!/^[0-9]{1,3}$/.test(text)) throw new InvalidArgumentError('It must be a number such as 24.');
  return Number(text);
}
