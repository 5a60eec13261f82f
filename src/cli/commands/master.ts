/** `portolan master`: the daemon that hands out blocks. */
import { join } from 'node:path';
import { Command } from 'commander';
import { realClock } from '../../base/clock.ts';
import { ip } from '../../base/ip.ts';
import { createLog } from '../../base/log.ts';
import { createMetrics } from '../../base/metrics.ts';
import { realRandom } from '../../base/random.ts';
import { RealMailbox } from '../../kernel/udp/mailbox.ts';
import { loadMasterConfig } from '../../master/config.ts';
import { openMasterExchange, type MasterExchangeComponents } from '../../master/exchange.ts';
import { startMaster } from '../../master/master.ts';
import { createTlsTransport } from '../../peer/tls.ts';
import type { CliContext } from '../context.ts';
import { runUntilSignal } from '../daemon.ts';

interface MasterOptions {
  readonly config?: string;
  readonly stateDir?: string;
}

export function command(_context: CliContext): Command {
  return new Command('master')
    .description('Hand out address blocks to the agents of a cluster. Runs in the foreground.')
    .option('--config <file>', 'YAML or JSON (default /etc/portolan/master.yaml where there is one)')
    .option('--state-dir <dir>', 'where the store is, instead of `state_dir` in the file')
    .action(run);
}

async function run(options: MasterOptions): Promise<void> {
  const file = await loadMasterConfig(options.config);
  const config = options.stateDir === undefined ? file : { ...file, state_dir: options.stateDir };
  const log = createLog(config.log_level, { program: 'master' });
  const metrics = createMetrics();
  const components = { clock: realClock, random: realRandom, log, metrics };
  const openTransport: MasterExchangeComponents['openTransport'] = (credentials) =>
    createTlsTransport(
      { clock: realClock, log },
      { credentials, openMailbox: ({ host, port }) => new RealMailbox(ip(host), port) },
    );
  const path = join(config.state_dir, 'records.journal');
  await runUntilSignal(log, () =>
    startMaster(
      { ...components, openExchange: openMasterExchange({ ...components, openTransport }, { path }) },
      config,
    ),
  );
}
