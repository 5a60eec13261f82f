/** `portolan node ls|inspect|rm`: the nodes that hold a grant, and their state as seen from whom is asked. */
import { Command } from 'commander';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { outputOption, withFlatOverlays } from '../output.ts';

/** What the table and the messages need of a node. */
interface Node {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly overlays: Readonly<Record<string, string>>;
}

interface Output {
  readonly output: OutputFormat;
}

export function command(context: CliContext): Command {
  return new Command('node')
    .description('Nodes and the addresses they hold.')
    .addCommand(listCommand(context))
    .addCommand(inspectCommand(context))
    .addCommand(removeCommand(context))
    .addCommand(drainCommand(context, 'drain'))
    .addCommand(drainCommand(context, 'undrain'));
}

function listCommand(context: CliContext): Command {
  return new Command('ls')
    .description('List all nodes.')
    .addOption(outputOption())
    .action(async ({ output }: Output) => {
      const { nodes } = (await context.call(await context.clusterApi(), {
        method: 'GET',
        path: '/v1/nodes',
      })) as { nodes: readonly Node[] };
      const columns = [
        'name',
        'address',
        'state',
        'vtep_ip',
        'overlays',
        'applied',
        'drained',
        'id',
        'superseded_by',
      ];
      context.print(output === 'table' ? nodes.map(withFlatOverlays) : nodes, { output, columns });
    });
}

function inspectCommand(context: CliContext): Command {
  return new Command('inspect')
    .description('Show everything about one node.')
    .argument('<node>', 'id, name or address')
    .addOption(outputOption().default('yaml'))
    .action(async (node: string, { output }: Output) => {
      const path = `/v1/nodes/${encodeURIComponent(node)}`;
      context.print((await context.call(await context.clusterApi(), { method: 'GET', path })) as Row, {
        output,
      });
    });
}

function removeCommand(context: CliContext): Command {
  return new Command('rm')
    .description('Remove nodes that are gone for good: their blocks are free for others at once.')
    .argument('<node...>', 'ids, names or addresses')
    .action(async (nodes: readonly string[]) => {
      const api = await context.masterApi();
      for (const node of nodes) {
        const path = `/v1/nodes/${encodeURIComponent(node)}`;
        const removed = (await context.call(api, { method: 'DELETE', path })) as Node;
        context.say(`removed ${removed.name} (${removed.address}, ${removed.id})`);
      }
    });
}

function drainCommand(context: CliContext, verb: 'drain' | 'undrain'): Command {
  const isDrain = verb === 'drain';
  const what = isDrain
    ? 'Empty agents for maintenance: no task of an app comes, and those there move elsewhere one by one.'
    : 'Let tasks come to agents again.';
  return new Command(verb)
    .description(what)
    .argument('<node...>', 'ids, names or addresses')
    .action(async (nodes: readonly string[]) => {
      const api = await context.masterApi();
      for (const node of nodes) {
        const path = `/v1/nodes/${encodeURIComponent(node)}/drain`;
        const told = (await context.call(api, { method: isDrain ? 'POST' : 'DELETE', path })) as Node;
        context.say(
          `${isDrain ? 'drains' : 'takes tasks again:'} ${told.name} (${told.address}, ${told.id})`,
        );
      }
    });
}
