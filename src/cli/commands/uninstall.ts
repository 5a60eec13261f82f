/** `portolan uninstall`: everything of ours off this host, nothing else. */
import { Command } from 'commander';
import { uninstall } from '../../agent/uninstall.ts';
import { realClock } from '../../base/clock.ts';
import { createLog } from '../../base/log.ts';
import { createMetrics } from '../../base/metrics.ts';
import { openKernel } from '../../kernel/real.ts';
import { agentConfig } from '../../model/config.ts';
import { loadConfigFile } from '../../model/config-file.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

interface UninstallOptions {
  readonly config?: string;
  readonly purge: boolean;
  readonly force: boolean;
  readonly output: OutputFormat;
}

export function command(context: CliContext): Command {
  return new Command('uninstall')
    .description(
      "Remove Portolan's devices, routes, rules, Docker networks and CNI files from this host; restore its sysctls.",
    )
    .option(
      '--config <file>',
      'the agent configuration (default /etc/portolan/agent.yaml where there is one)',
    )
    .option('--purge', "also remove the agent's state: identity and blocks are lost", false)
    .option('--force', 'also end native containers that run', false)
    .addOption(outputOption())
    .action(async (options: UninstallOptions) => {
      const config = await loadConfigFile(agentConfig, options.config, '/etc/portolan/agent.yaml');
      const log = createLog('warn', { program: 'uninstall' });
      const kernel = await openKernel({ log });
      const components = { kernel, clock: realClock, log, metrics: createMetrics() };
      const { purge, force } = options;
      const report = await uninstall(components, config, { purge, force }).finally(() => kernel.close());
      context.print(report, { output: options.output });
      if (report.left.length > 0) process.exitCode = 1;
    });
}
