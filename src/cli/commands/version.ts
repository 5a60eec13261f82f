/** `portolan version` */
import { Command } from 'commander';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';
import { version } from '../../base/version.ts';

export function command(context: CliContext): Command {
  return new Command('version')
    .description('Print the version of this program and of its Node.')
    .addOption(outputOption())
    .action((options: { output: OutputFormat }) =>
      context.print({ portolan: version(), node: process.versions.node }, { output: options.output }),
    );
}
