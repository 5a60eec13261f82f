/** `portolan join TOKEN@HOST:PORT`: makes this host a node of a cluster. */
import { join } from 'node:path';
import { Command } from 'commander';
import { isExpired, loadCredentials } from '../../agent/credentials.ts';
import { joinWithToken } from '../../agent/joining.ts';
import { openAgentJournal } from '../../agent/agent.ts';
import { realClock, sleep } from '../../base/clock.ts';
import { isPortolanError, PortolanError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import { agentConfig } from '../../model/config.ts';
import { loadConfigFile } from '../../model/config-file.ts';
import type { Journal } from '../../store/types.ts';
import { parseInvitation } from '../../trust/token.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

const LOCK_ATTEMPTS = 10;
const LOCK_RETRY_MS = 200;

interface JoinOptions {
  readonly config?: string;
  readonly output: OutputFormat;
}

export function command(context: CliContext): Command {
  return new Command('join')
    .description('Make this host a node of a cluster: with a token from "portolan token create" on a master.')
    .argument('<token@host:port>', 'as printed there')
    .option('--config <file>', "the agent's (default /etc/portolan/agent.yaml where there is one)")
    .addOption(outputOption())
    .action((invitation: string, options: JoinOptions) => run(context, invitation, options));
}

async function run(context: CliContext, invitation: string, options: JoinOptions): Promise<void> {
  parseInvitation(invitation);
  const config = await loadConfigFile(agentConfig, options.config, '/etc/portolan/agent.yaml');
  const journal = await openUnusedJournal(config.state_dir);
  try {
    const former = loadCredentials(journal)?.credentials;
    if (former !== undefined && !isExpired(former, realClock.wallMs())) throw alreadyJoined(former.name);
    const { credentials, masters } = await joinWithToken({ journal }, invitation, former && { former });
    const { cluster, node } = credentials.name;
    const expires = new Date(credentials.validity.notAfter).toISOString();
    context.print({ cluster, node, expires, masters }, { output: options.output });
    context.say('start the agent: systemctl enable --now portolan-agent');
  } finally {
    await journal.close();
  }
}

/** An agent that runs has joined already, or is about to end for want of a token: then it lets go within a second. */
async function openUnusedJournal(stateDir: string): Promise<Journal> {
  for (let attempt = 1; ; attempt++)
    try {
      return await openAgentJournal({ log: silentLog }, stateDir);
    } catch (error) {
      if (!isPortolanError(error, 'conflict')) throw error;
      if (attempt < LOCK_ATTEMPTS) await sleep(LOCK_RETRY_MS);
      else throw agentRuns(stateDir, error);
    }
}

function agentRuns(stateDir: string, cause: unknown): PortolanError {
  return new PortolanError('conflict', 'Cannot join: the agent of this host runs', {
    field: join(stateDir, 'agent.journal'),
    remedy:
      'it is a node already, see "portolan status"; to join another cluster end it and uninstall it first',
    cause,
  });
}

function alreadyJoined({ cluster, node }: { cluster: string; node: string }): PortolanError {
  return new PortolanError('conflict', `Cannot join: this host is node "${node}" of cluster "${cluster}"`, {
    remedy: 'start its agent, or run "portolan leave" first',
  });
}
