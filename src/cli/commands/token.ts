/** `portolan token create|ls|rm`: what hosts join the cluster with. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { PortolanError } from '../../base/errors.ts';
import { TOKENS_PATH, type TokenView } from '../../model/trust.ts';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { outputOption } from '../output.ts';

interface Output {
  readonly output: OutputFormat;
}
interface Created {
  readonly tokens: readonly { readonly id: string; readonly token: string; readonly expires: string }[];
}

export function command(context: CliContext): Command {
  return new Command('token')
    .description('Tokens that hosts join the cluster with: each is good for one host, for a limited time.')
    .addCommand(createCommand(context))
    .addCommand(listCommand(context))
    .addCommand(removeCommand(context));
}

function createCommand(context: CliContext): Command {
  return new Command('create')
    .description('Make tokens. Each is shown this once; the cluster keeps only its hash.')
    .addOption(
      new Option('--ttl <duration>', 'how long it may be used, at most 30d: 90s, 15m, 12h or 7d')
        .argParser(parseDuration)
        .default(3600, '1h'),
    )
    .option('--count <n>', 'how many, at most 1000', parseCount, 1)
    .option('--note <text>', 'whom or what it is for')
    .addOption(outputOption())
    .action(async (options: Output & { ttl: number; count: number; note?: string }) => {
      const api = await context.clusterApi();
      const note = options.note === undefined ? {} : { note: options.note };
      const body = { ttl_seconds: options.ttl, count: options.count, ...note };
      const created = (await context.call(api, { method: 'POST', path: TOKENS_PATH, body })) as Created;
      const { masters } = (await context.call(api, { method: 'GET', path: '/v1/masters' })) as {
        masters: readonly string[];
      };
      const tokens = created.tokens.map(({ id, token, expires }) => ({
        id,
        expires,
        join: `${token}@${masters[0] ?? 'HOST:PORT'}`,
      }));
      if (options.output !== 'table') return context.print(tokens, { output: options.output });
      for (const { join } of tokens) process.stdout.write(`portolan join ${join}\n`);
      context.say(`good for one host each, until ${tokens[0]?.expires ?? ''}`);
    });
}

function listCommand(context: CliContext): Command {
  return new Command('ls')
    .description('List tokens, also those that were used or have expired, for 30 days more.')
    .addOption(outputOption())
    .action(async ({ output }: Output) => {
      const api = await context.clusterApi();
      const { tokens } = (await context.call(api, { method: 'GET', path: TOKENS_PATH })) as {
        tokens: readonly (TokenView & Row)[];
      };
      const columns = ['id', 'state', 'created', 'expires', 'node', 'note'];
      context.print(tokens, { output, columns });
    });
}

function removeCommand(context: CliContext): Command {
  return new Command('rm')
    .description('Withdraw tokens. Nodes that joined with one stay members.')
    .argument('<id...>', 'ids as listed')
    .action(async (ids: readonly string[]) => {
      const api = await context.clusterApi();
      for (const id of ids) {
        const path = `${TOKENS_PATH}/${encodeURIComponent(id)}`;
        const removed = (await context.call(api, { method: 'DELETE', path })) as TokenView;
        context.say(`removed token ${removed.id} (${removed.state})`);
      }
    });
}

const secondsPer: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** In seconds. */
function parseDuration(text: string): number {
  const match = /^([0-9]{1,9})([smhd])$/.exec(text);
  const seconds = Number(match?.[1]) * (secondsPer[match?.[2] ?? ''] ?? NaN);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw new InvalidArgumentError('write a duration such as 90s, 15m, 12h or 7d.');
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new PortolanError('invalid', `Cannot make "${text}" tokens`, {
    field: '--count',
    remedy: 'give a whole number above 0',
  });
}
