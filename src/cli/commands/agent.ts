/** `portolan agent`: the daemon of every host. */
import { mkdir } from 'node:fs/promises';
import { Command } from 'commander';
import { startAgent } from '../../agent/agent.ts';
import { realClock } from '../../base/clock.ts';
import { createLog } from '../../base/log.ts';
import { createMetrics } from '../../base/metrics.ts';
import { realRandom } from '../../base/random.ts';
import { openKernel } from '../../kernel/real.ts';
import { openUdp } from '../../kernel/udp/real.ts';
import { agentConfig } from '../../model/config.ts';
import { loadConfigFile } from '../../model/config-file.ts';
import type { CliContext } from '../context.ts';
import { runUntilSignal } from '../daemon.ts';

interface AgentOptions {
  readonly config?: string;
  readonly master: readonly string[];
}

export function command(_context: CliContext): Command {
  return new Command('agent')
    .description(
      "Program this host's kernel so that its containers reach all others. Runs in the foreground.",
    )
    .option('--config <file>', 'YAML or JSON (default /etc/portolan/agent.yaml where there is one)')
    .option('--master <host:port...>', "a master's API, instead of `masters` in the file", [])
    .action(run);
}

async function run(options: AgentOptions): Promise<void> {
  const file = await loadConfigFile(agentConfig, options.config, '/etc/portolan/agent.yaml');
  const config = options.master.length > 0 ? agentConfig.parse({ ...file, masters: options.master }) : file;
  const log = createLog(config.log_level, { program: 'agent' });
  await mkdir(config.run_dir, { recursive: true, mode: 0o755 });
  const metrics = createMetrics();
  await runUntilSignal(log, async (signal) => {
    const kernel = await openKernel({ log: log.child('kernel') });
    return startAgent(
      { kernel, udp: openUdp(), clock: realClock, random: realRandom, log, metrics },
      { config, signal },
    );
  });
}
