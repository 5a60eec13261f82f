/** `portolan deployment ls|cancel`: changes of apps that are going on. */
import { Command } from 'commander';
import { z } from 'zod';
import type { CliContext, OutputFormat } from '../context.ts';
import { callMarathon, deployed, deployments } from '../marathon.ts';
import { outputOption } from '../output.ts';

export function command(context: CliContext): Command {
  return new Command('deployment')
    .description('Changes of apps that are going on.')
    .addCommand(list(context))
    .addCommand(cancel(context));
}

function list(context: CliContext): Command {
  return new Command('ls')
    .description('List deployments and what each is doing.')
    .addOption(outputOption())
    .action(async ({ output }: { output: OutputFormat }) => {
      const found = await callMarathon(context, deployments, { method: 'GET', path: '/v2/deployments' });
      const rows = found.map(({ currentStep, totalSteps, currentActions, affectedApps: apps, ...rest }) => ({
        ...rest,
        apps,
        step: `${currentStep}/${totalSteps}`,
        doing: currentActions.map(({ action, app }) => `${action} ${app}`),
      }));
      context.print(output === 'table' ? rows : found, {
        output,
        columns: ['id', 'version', 'apps', 'step', 'doing'],
      });
    });
}

function cancel(context: CliContext): Command {
  return new Command('cancel')
    .description('Take deployments back: another deployment makes everything what it was.')
    .argument('<id...>', 'as "deployment ls" lists them')
    .option('-f, --force', 'only stop, and leave everything as it is now', false)
    .action(async (ids: readonly string[], { force }: { force: boolean }) => {
      for (const id of ids) {
        const path = `/v2/deployments/${encodeURIComponent(id)}?force=${String(force)}`;
        const answer = await callMarathon(context, z.unknown(), { method: 'DELETE', path });
        const reverting = deployed.safeParse(answer);
        context.say(
          reverting.success
            ? `${id} is taken back by deployment ${reverting.data.deploymentId}`
            : `${id} is stopped`,
        );
      }
    });
}
