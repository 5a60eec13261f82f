/** `portolan dns query`: what a host's DNS server answers, and from where. */
import { Command } from 'commander';
import { parseTarget } from '../../http/client.ts';
import type { CliContext, OutputFormat, Row } from '../context.ts';
import { outputOption } from '../output.ts';

interface Answer {
  readonly rcode: string;
  readonly source: 'cluster' | 'upstream';
  readonly zone: string;
  /** Of an agent older than this: none are told. */
  readonly upstreams?: readonly string[];
  readonly took_ms: number;
  readonly answers: readonly Row[];
}

interface QueryOptions {
  readonly agent?: string;
  readonly output: OutputFormat;
}

export function command(context: CliContext): Command {
  return new Command('dns')
    .description('Names of containers, services and virtual addresses.')
    .addCommand(queryCommand(context));
}

function queryCommand(context: CliContext): Command {
  return new Command('query')
    .description("Ask this host's DNS server as a container would, and see where the answer comes from.")
    .argument('<name>', 'such as web.marathon.containerip.dcos.thisdcos.directory; with PTR also an address')
    .argument('[type]', 'A, AAAA, SRV, PTR, SOA, NS, ANY, …', 'A')
    .option('--agent <address>', "ask another host's: its agent's API, such as 10.0.0.11:5051")
    .addOption(outputOption())
    .action(async (name: string, type: string, { agent, output }: QueryOptions) => {
      const search = new URLSearchParams({ name, type });
      const target = agent === undefined ? await context.agentApi() : parseTarget(agent);
      const answer = (await context.call(target, {
        method: 'GET',
        path: `/v1/dns/query?${search.toString()}`,
      })) as Answer;
      if (output !== 'table') context.print(answer, { output });
      else {
        if (answer.answers.length > 0)
          context.print(answer.answers, { output, columns: ['name', 'ttl', 'type', 'data'] });
        context.say(summary(answer));
      }
      if (answer.rcode !== 'NOERROR') process.exitCode = 1;
    });
}

export function summary({ rcode, source, zone, upstreams, took_ms: tookMs, answers }: Answer): string {
  const from = source === 'cluster' ? `the cluster's zone ${zone}` : fromUpstreams(zone, upstreams);
  const nothing = rcode === 'NOERROR' && answers.length === 0 ? ': the name has no records of this type' : '';
  return `${rcode}${nothing}; from ${from}; ${tookMs} ms`;
}

function fromUpstreams(zone: string, upstreams: Answer['upstreams']): string {
  if (upstreams?.length === 0)
    return 'nobody: the host has no upstream for it, name one in its /etc/resolv.conf or in dns.upstreams';
  const servers = upstreams === undefined ? '' : ` (${upstreams.join(', ')})`;
  return `an upstream${zone === '.' ? '' : ` of the forward zone ${zone}`}${servers}, or its answer kept`;
}
