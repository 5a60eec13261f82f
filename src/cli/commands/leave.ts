/** `portolan leave`: takes this host out of its cluster, for good. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';

export function command(context: CliContext): Command {
  return new Command('leave')
    .description(
      'Take this host out of its cluster: its blocks are free for others, its certificate is void, its agent ends.',
    )
    .action(async () => {
      const { node } = (await context.call(await context.agentApi(), {
        method: 'POST',
        path: '/v1/leave',
        body: {},
      })) as { node: string };
      context.say(`left the cluster as node ${node}; its agent needs another token to come back`);
    });
}
