/** `portolan doctor`: what this host offers and what stands in the way. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { preflight, type Check } from '../../agent/preflight.ts';
import { request } from '../../http/client.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

export function command(context: CliContext): Command {
  return new Command('doctor')
    .description('Try every kernel feature and program that Portolan needs, and ask the agent how it is.')
    .addOption(outputOption())
    .action(async (options: { output: OutputFormat }) => {
      const checks = [...(await preflight()), ...(await agentChecks(context))];
      context.print(checks, {
        output: options.output,
        columns: ['check', 'verdict', 'found', 'remedy'],
      });
      if (checks.some((check) => check.verdict === 'failed')) process.exitCode = 1;
    });
}

interface AgentAnswer {
  readonly registered?: boolean;
  readonly applied?: boolean;
}

async function agentChecks(context: CliContext): Promise<readonly Check[]> {
  const target = await context.agentApi();
  if (!('socketPath' in target) || !existsSync(target.socketPath))
    return [
      {
        check: 'agent',
        verdict: 'warning',
        found: 'not running',
        remedy: 'start `portolan agent` on this host',
      },
    ];
  const answer = await request(target, { method: 'GET', path: '/v1/status', timeoutMs: 5_000 }).catch(
    () => undefined,
  );
  const status = answer?.body as AgentAnswer | undefined;
  if (status === undefined)
    return [{ check: 'agent', verdict: 'failed', found: 'does not answer', remedy: "see the agent's log" }];
  return [
    status.registered === true
      ? { check: 'agent', verdict: 'ok', found: 'registered', remedy: '' }
      : {
          check: 'agent',
          verdict: 'warning',
          found: 'not registered',
          remedy: 'check that a master is reachable',
        },
    status.applied === true
      ? { check: 'kernel state', verdict: 'ok', found: 'as desired', remedy: '' }
      : {
          check: 'kernel state',
          verdict: 'warning',
          found: 'not as desired',
          remedy: 'see `reconciler` in /v1/status',
        },
  ];
}
