/** `portolan init`: makes this host the first master of a new cluster. */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { realClock } from '../../base/clock.ts';
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { realRandom } from '../../base/random.ts';
import { initMaster } from '../../master/init.ts';
import { loadMasterConfig, MASTER_CONFIG_PATH } from '../../master/config.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

interface InitOptions {
  readonly config: string;
  readonly address?: string;
  readonly output: OutputFormat;
}

export function command(context: CliContext): Command {
  return new Command('init')
    .description(
      'Make this host the master of a new cluster: its configuration, id and certificate authority.',
    )
    .option('--address <ip>', 'underlay address others reach this master at (default: found from the routes)')
    .option('--config <file>', 'the configuration, written where there is none', MASTER_CONFIG_PATH)
    .addOption(outputOption())
    .action((options: InitOptions) => run(context, options));
}

async function run(context: CliContext, options: InitOptions): Promise<void> {
  if (!existsSync(options.config)) await writeConfig(options);
  const config = await loadMasterConfig(options.config);
  if (options.address !== undefined && config.address !== options.address)
    throw new PortolanError(
      'conflict',
      `Cannot use address ${options.address}: "${options.config}" says otherwise`,
      {
        field: '--address',
        remedy: 'correct `address` there',
      },
    );
  const components = { clock: realClock, random: realRandom, log: silentLog };
  const made = await initMaster(components, config).catch((error: unknown) => {
    throw isPortolanError(error, 'conflict') ? runsAlready(join(config.run_dir, 'api.sock'), error) : error;
  });
  context.print({ ...made, config: options.config }, { output: options.output });
  context.say('start the master and its own agent: systemctl enable --now portolan-master portolan-agent');
  context.say('then let hosts join: portolan token create');
}

async function writeConfig({ config, address }: InitOptions): Promise<void> {
  await mkdir(dirname(config), { recursive: true });
  await writeFile(config, stringify(address === undefined ? {} : { address }));
}

function runsAlready(socket: string, cause: unknown): PortolanError {
  return new PortolanError('conflict', 'Cannot make a cluster here: the master of this host runs', {
    remedy: `its cluster exists already: ask it through ${socket}`,
    cause,
  });
}
