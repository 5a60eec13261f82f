/** `portolan doctor`: what this host offers and what stands in the way. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { preflight, type Check } from '../../agent/preflight.ts';
import { realClock } from '../../base/clock.ts';
import { request, type HttpTarget } from '../../http/client.ts';
import type { AgentOverlay } from '../../model/overlay.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { clusterChecks } from '../doctor-cluster.ts';
import { diskChecks } from '../doctor-disk.ts';
import {
  judgeCertificate,
  judgeKernel,
  judgeOverlays,
  judgeRegistration,
  type CertificateSample,
  type KernelSample,
  type RegistrationSample,
  type SeenDocker,
} from '../doctor-judge.ts';
import { outputOption } from '../output.ts';

export function command(context: CliContext): Command {
  return new Command('doctor')
    .description(
      'Try every kernel feature and program that Portolan needs, ask the agent how it is, and look at ports, clocks and the other hosts.',
    )
    .addOption(outputOption())
    .action(async (options: { output: OutputFormat }) => {
      const asked = await askAgent(context);
      const { target, status, isThere } = asked;
      const isSilent = isThere && status === undefined;
      const address = status === undefined ? {} : { address: status.address ?? null };
      const checks = [
        ...(await preflight()),
        ...(await diskChecks()),
        ...agentChecks(asked),
        ...(await clusterChecks({ target, isSilent, ...address })),
      ];
      context.print(checks, {
        output: options.output,
        columns: ['check', 'verdict', 'found', 'remedy'],
      });
      if (checks.some((check) => check.verdict === 'failed')) process.exitCode = 1;
    });
}

interface AgentAnswer extends KernelSample, RegistrationSample {
  readonly address?: string | null;
  readonly certificate?: CertificateSample;
  readonly overlays?: readonly AgentOverlay[];
  readonly docker?: SeenDocker;
}

interface Asked {
  readonly target: HttpTarget;
  /** Absent when it does not answer. */
  readonly status?: AgentAnswer;
  readonly isThere: boolean;
}

async function askAgent(context: CliContext): Promise<Asked> {
  const target = await context.agentApi();
  if (!('socketPath' in target) || !existsSync(target.socketPath)) return { target, isThere: false };
  try {
    const answer = await request(target, { method: 'GET', path: '/v1/status', timeoutMs: 5_000 });
    return { target, isThere: true, status: answer.body as AgentAnswer };
  } catch (error) {
    // One that was killed leaves its socket behind.
    const { code } = ((error as Error).cause ?? {}) as { code?: unknown };
    return { target, isThere: code !== 'ECONNREFUSED' };
  }
}

function agentChecks({ isThere, status }: Asked): readonly Check[] {
  if (!isThere)
    return [
      {
        ...{ check: 'agent', verdict: 'warning', found: 'not running' },
        remedy: 'start `portolan agent` on this host',
      },
    ];
  if (status === undefined)
    return [{ check: 'agent', verdict: 'failed', found: 'does not answer', remedy: "see the agent's log" }];
  return [
    judgeCertificate(status.certificate, realClock.wallMs()),
    judgeRegistration(status),
    judgeKernel(status),
    ...judgeOverlays(status.overlays ?? [], status.docker),
  ];
}
