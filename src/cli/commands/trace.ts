/** `portolan trace A B:port`: hop by hop over the kernels' real state, with the reason and the remedy. */
import { Command } from 'commander';
import { TRACE_PATH, traceResult, type TraceHop, type TraceResult } from '../../model/trace.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

interface TraceOptions {
  readonly output: OutputFormat;
  readonly udp: boolean;
}

export function command(context: CliContext): Command {
  return new Command('trace')
    .description(
      'Follow a packet from A to B, and its answer back, through what the hosts have in their kernels: routes, ' +
        'neighbours, tunnels, VIPs, filters of nftables and iptables. Nothing is sent. Exits with 1 when it does not arrive.',
    )
    .argument('<from>', 'a container or task (name, id or address), or a host')
    .argument('<to>', 'the same, a VIP or an address, with a port: web:80, 9.0.1.2:80, [fd01:b::2]:80')
    .option('--udp', 'the port is a UDP one', false)
    .addOption(outputOption())
    .action(async (from: string, to: string, { output, udp }: TraceOptions) => {
      const query = new URLSearchParams({ from, to, protocol: udp ? 'udp' : 'tcp' });
      const path = `${TRACE_PATH}?${query.toString()}`;
      const result = traceResult.parse(
        await context.call(await context.clusterApi(), { method: 'GET', path, timeoutMs: 60_000 }),
      );
      if (output === 'table') tellResult(context, result);
      else context.print(result, { output });
      if (!result.arrives) process.exitCode = 1;
    });
}

function tellResult(context: CliContext, { from, to, packet, ...result }: TraceResult): void {
  const port = packet.port === undefined ? '' : `:${packet.port}`;
  context.tell(`${from} -> ${to}   ${packet.protocol} ${packet.source} -> ${packet.destination}${port}`);
  context.print(result.hops.map(row), { output: 'table', columns: COLUMNS });
  if (result.back.length > 0) {
    context.tell('and the answer back');
    context.print(result.back.map(row), { output: 'table', columns: COLUMNS });
  }
  if (result.arrives)
    context.tell(result.doubts.length === 0 ? 'It arrives.' : 'It arrives, as far as can be told; but:');
  else context.tell(`It does not arrive: ${result.reason ?? ''}`);
  for (const doubt of result.doubts) context.tell(`  ${doubt}`);
  if (result.remedy !== undefined) context.tell(`What helps: ${result.remedy}`);
}

const COLUMNS = ['host', 'at', 'ok', 'what'];

function row({ host, at, ok, what, doubts }: TraceHop): object {
  return { host, at, ok: !ok ? 'NO' : doubts === undefined ? 'yes' : '?', what };
}
