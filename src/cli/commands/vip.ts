/** `portolan vip ls|inspect`: virtual IPs, their backends, and what the hosts' kernels have of them. */
import { Command } from 'commander';
import { VIPS_ALL_PATH, VIPS_INSPECT_PATH } from '../../node/vip-api.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption } from '../output.ts';

interface Output {
  readonly output: OutputFormat;
}

/** What tables and messages need of a VIP. */
interface Listed {
  readonly vip: string;
  readonly protocol: string;
  readonly addresses: readonly string[];
  readonly backends: readonly Backend[];
  readonly problem?: string;
  readonly connections?: number;
  readonly applied_on?: number;
  readonly hosts_total?: number;
  readonly hosts?: readonly object[];
}

interface Backend {
  readonly weight: number;
  readonly reachable: boolean;
  readonly used: boolean;
}

interface Issue {
  readonly label: string;
  readonly value: string;
  readonly problem: string;
  readonly task: string;
  readonly name: string;
  readonly host: string;
}

export function command(context: CliContext): Command {
  return new Command('vip')
    .description('Virtual IPs: addresses that lead to the tasks which ask for them by VIP_n labels.')
    .addCommand(listCommand(context))
    .addCommand(inspectCommand(context));
}

function listCommand(context: CliContext): Command {
  return new Command('ls')
    .description('List all VIPs, and the labels that do not hold.')
    .addOption(outputOption())
    .action(async ({ output }: Output) => {
      const answer = (await context.call(await context.clusterApi(), {
        method: 'GET',
        path: VIPS_ALL_PATH,
      })) as { vips: readonly Listed[]; issues: readonly Issue[]; status?: { problem?: string } };
      if (output !== 'table') {
        context.print(answer, { output });
        return;
      }
      const columns = ['vip', 'protocol', 'addresses', 'backends', 'unreachable', 'problem'];
      context.print(answer.vips.map(row), { output, columns });
      for (const line of issueLines(answer.issues)) context.say(line);
      if (answer.status?.problem !== undefined)
        context.say(`there are no VIPs on this host: ${answer.status.problem}`);
    });
}

/** One line for all tasks of the same name: an app has its labels on each. */
export function issueLines(issues: readonly Issue[]): readonly string[] {
  const alike = new Map<string, [Issue, ...Issue[]]>();
  for (const issue of issues) {
    const { label, value, name, problem } = issue;
    const key = JSON.stringify([label, value, name, problem]);
    const group = alike.get(key);
    if (group === undefined) alike.set(key, [issue]);
    else group.push(issue);
  }
  return Array.from(alike.values(), (group) => {
    const { label, value, name, problem } = group[0];
    const tasks = new Set(group.map(({ task }) => task)).size;
    const hosts = Array.from(new Set(group.map(({ host }) => host))).sort();
    const whose = tasks === 1 ? name : `${name} (${tasks} tasks)`;
    return `label ${label}="${value}" of ${whose} on ${hosts.join(', ')}: ${problem}`;
  });
}

/** `2/3`: of three backends, two get new connections. */
function row(vip: Listed): object {
  const taking = vip.backends.filter(({ used, weight }) => used && weight > 0).length;
  const unreachable = vip.backends.filter(({ reachable }) => !reachable).length;
  return {
    ...vip,
    backends: `${taking}/${vip.backends.length}`,
    unreachable: unreachable === 0 ? '' : unreachable,
  };
}

function inspectCommand(context: CliContext): Command {
  return new Command('inspect')
    .description(
      'Show the backends of a VIP with weight and reachability, and on how many hosts it is in the kernel, with the ' +
        'connections counted there.',
    )
    .argument('<vip>', 'myservice:6666, myservice.marathon.l4lb.thisdcos.directory:6666, or ADDRESS:PORT')
    .addOption(outputOption())
    .action(async (vip: string, { output }: Output) => {
      const path = `${VIPS_INSPECT_PATH}?${new URLSearchParams({ vip }).toString()}`;
      const { vips } = (await context.call(await context.clusterApi(), { method: 'GET', path })) as {
        vips: readonly Listed[];
      };
      if (output !== 'table') context.print(vips, { output });
      else for (const each of vips) tell(context, each);
    });
}

function tell(context: CliContext, each: Listed): void {
  const addresses = each.addresses.length === 0 ? 'no address' : each.addresses.join(', ');
  context.tell(
    `${each.protocol} ${each.vip}   ${addresses}${each.problem === undefined ? '' : `   ${each.problem}`}`,
  );
  const columns = ['ip', 'port', 'weight', 'reachable', 'used', 'name', 'host', 'task'];
  context.print(each.backends, { output: 'table', columns });
  if (each.hosts === undefined) {
    if (each.connections !== undefined) context.tell(`connections from this host: ${each.connections}`);
    return;
  }
  context.tell(
    `applied on ${each.applied_on ?? 0}/${each.hosts_total ?? 0} hosts, ${each.connections ?? 0} connections`,
  );
  context.print(each.hosts, { output: 'table', columns: ['host', 'applied', 'connections', 'problem'] });
}
