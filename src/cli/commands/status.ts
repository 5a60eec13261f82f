/** `portolan status`: nodes and their overlays, as any daemon of the cluster knows them. */
import { Command } from 'commander';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption, withFlatOverlays } from '../output.ts';

interface Nodes {
  readonly nodes: readonly {
    readonly id: string;
    readonly overlays: Readonly<Record<string, string>>;
  }[];
}
interface Endpoints {
  readonly endpoints: readonly { readonly node: string }[];
}

export function command(context: CliContext): Command {
  return new Command('status')
    .description('Nodes, their blocks, and how many endpoints each carries.')
    .addOption(outputOption())
    .action(async (options: { output: OutputFormat }) => {
      const api = await context.clusterApi();
      const { nodes } = (await context.call(api, { method: 'GET', path: '/v1/nodes' })) as Nodes;
      const { endpoints } = (await context.call(api, { method: 'GET', path: '/v1/endpoints' })) as Endpoints;
      const rows = nodes.map((node) => ({
        ...node,
        endpoints: endpoints.filter((endpoint) => endpoint.node === node.id).length,
      }));
      context.print(options.output === 'table' ? rows.map(withFlatOverlays) : rows, {
        output: options.output,
        columns: ['name', 'address', 'role', 'overlays', 'endpoints', 'id'],
      });
    });
}
