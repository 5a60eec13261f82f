/** `portolan status`: the cluster at a glance, as any daemon of it sees it; and waiting until a change is everywhere. */
import { Command, InvalidArgumentError } from 'commander';
import { appliedSummary, type AppliedStatus } from '../../node/applied.ts';
import type { HttpTarget } from '../../http/client.ts';
import type { CliContext, OutputFormat } from '../context.ts';
import { outputOption, withFlatOverlays } from '../output.ts';

interface Node {
  readonly id: string;
  readonly name: string;
  readonly overlays: Readonly<Record<string, string>>;
  readonly state?: string;
  readonly unreachable_for?: readonly string[];
}

interface Options {
  readonly output: OutputFormat;
  /** True without a revision: the newest. */
  readonly wait?: number | true;
  readonly timeout: number;
}

const DEFAULT_TIMEOUT_S = 60;
/** Beyond the wait itself, for the answer. */
const ANSWER_MS = 10_000;
/** Unreachable nodes named in one line, and viewers named for each. */
const MAX_NAMED = 5;

export function command(context: CliContext): Command {
  return new Command('status')
    .description(
      "Nodes with their blocks and endpoints, who is unreachable and for whom, and how far the masters' changes have come.",
    )
    .option(
      '--wait [revision]',
      'wait until every reachable agent has applied it (default: the newest)',
      wholeNumber,
    )
    .option('--timeout <seconds>', 'how long to wait', wholeNumber, DEFAULT_TIMEOUT_S)
    .addOption(outputOption())
    .action((options: Options) =>
      options.wait === undefined ? show(context, options) : wait(context, options),
    );
}

function wholeNumber(text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give a whole number.');
}

async function show(context: CliContext, { output }: Options): Promise<void> {
  const api = await context.clusterApi();
  const get = (path: string): Promise<unknown> => context.call(api, { method: 'GET', path });
  const { nodes } = (await get('/v1/nodes')) as { nodes: readonly Node[] };
  const { endpoints } = (await get('/v1/endpoints')) as { endpoints: readonly { node: string }[] };
  const counts = new Map<string, number>();
  for (const { node } of endpoints) counts.set(node, (counts.get(node) ?? 0) + 1);
  const rows = nodes.map((node) => ({ ...node, endpoints: counts.get(node.id) ?? 0 }));
  if (output === 'table') {
    context.tell(membersSummary(nodes));
    tellApplied(context, (await get('/v1/applied')) as AppliedStatus);
  }
  context.print(output === 'table' ? rows.map(withFlatOverlays) : rows, {
    output,
    columns: ['name', 'address', 'role', 'state', 'overlays', 'endpoints', 'applied', 'id'],
  });
}

/** `4 nodes, 3 reachable; unreachable: agent3 (also for agent1, agent2)`. */
function membersSummary(nodes: readonly Node[]): string {
  const hidden = nodes.filter(({ state }) => state === 'unreachable');
  const seen = `${nodes.length} nodes, ${nodes.length - hidden.length} reachable`;
  const doubted = nodes.filter(
    (node) => node.state !== 'unreachable' && (node.unreachable_for ?? []).length > 0,
  );
  const parts = [
    seen,
    ...(hidden.length === 0 ? [] : [`unreachable: ${named(hidden, 'also for')}`]),
    ...(doubted.length === 0 ? [] : [`unreachable for others: ${named(doubted, 'for')}`]),
  ];
  return parts.join('; ');
}

function named(nodes: readonly Node[], forWhom: string): string {
  return shortList(
    nodes.map(({ name, unreachable_for: viewers = [] }) =>
      viewers.length === 0 ? name : `${name} (${forWhom} ${shortList(viewers)})`,
    ),
  );
}

function shortList(words: readonly string[]): string {
  const more = words.length - MAX_NAMED;
  return more > 0 ? `${words.slice(0, MAX_NAMED).join(', ')} and ${more} more` : words.join(', ');
}

function tellApplied(context: CliContext, status: AppliedStatus): void {
  context.tell(appliedSummary(status));
  // Then nobody is slow: it is a number that no master has made, or of which this daemon has not heard.
  if (status.revision > status.newest) context.tell(`  the newest revision known here is ${status.newest}`);
  for (const { name, message } of status.missing.slice(0, MAX_NAMED)) context.tell(`  ${name}: ${message}`);
  const more = status.missing.length - MAX_NAMED;
  if (more > 0) context.tell(`  and ${more} more`);
}

async function wait(context: CliContext, options: Options): Promise<void> {
  const api = await context.clusterApi();
  const status = await waitFor(context, api, options);
  if (options.output === 'table') tellApplied(context, status);
  else context.print(status, { output: options.output });
  if (!status.done) process.exitCode = 1;
}

function waitFor(context: CliContext, api: HttpTarget, options: Options): Promise<AppliedStatus> {
  const query = new URLSearchParams({ wait: String(options.timeout) });
  if (typeof options.wait === 'number') query.set('revision', String(options.wait));
  return context.call(api, {
    method: 'GET',
    path: `/v1/applied?${query.toString()}`,
    timeoutMs: options.timeout * 1000 + ANSWER_MS,
  }) as Promise<AppliedStatus>;
}
