/** What the agents say of a VIP in their kernels: asked when somebody inspects it. */
import { describeError } from '../base/errors.ts';
import { request } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import { z } from 'zod';
import { VIPS_INSPECT_PATH } from '../node/vip-api.ts';
import { vipRevision } from '../node/vip-view.ts';
import type { Vip } from '../vip/table.ts';

const TIMEOUT_MS = 3_000;
/** Agents asked at the same time. */
const PARALLEL = 32;
const NOT_FOUND = 404;

const told = z.object({
  vips: z.array(
    z.looseObject({
      id: z.string(),
      revision: z.string(),
      connections: z.number().optional(),
      applied: z.boolean().optional(),
      /** Of the VIP, and of all VIPs, as that host sees it. */
      problem: z.string().optional(),
      host_problem: z.string().optional(),
    }),
  ),
});
type Told = z.infer<typeof told>['vips'][number];

/** What an agent says of a VIP, or why it says nothing. */
type Answer = Told | string;

export interface AgentAddress {
  readonly name: string;
  readonly address: string;
  readonly api_port: number;
}

/** By the VIP's id: each host's connections, and in how many hosts' kernels it is as it is known here. */
export async function vipHosts(
  vips: readonly Vip[],
  agents: readonly AgentAddress[],
): Promise<ReadonlyMap<string, object>> {
  const answers = new Map<string, ReadonlyMap<string, Answer>>();
  const waiting = [...agents];
  const ask = async (): Promise<void> => {
    for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop())
      answers.set(agent.name, await askAgent(agent, vips));
  };
  await Promise.all(Array.from({ length: PARALLEL }, ask));
  return new Map(vips.map((vip) => [vip.id, hostsOf(vip, agents, answers)]));
}

function hostsOf(
  vip: Vip,
  agents: readonly AgentAddress[],
  answers: ReadonlyMap<string, ReadonlyMap<string, Answer>>,
): object {
  const revision = vipRevision(vip);
  const hosts = agents.map(({ name }) => {
    const found = answers.get(name)?.get(vip.id) ?? 'it does not answer';
    if (typeof found === 'string') return { host: name, applied: false, problem: found };
    // One without an address is in no kernel.
    const applied = found.applied === true && found.revision === revision && vip.addresses.length > 0;
    const connections = found.connections ?? 0;
    return applied
      ? { host: name, applied, connections }
      : { host: name, applied, connections, problem: problemOf(found, revision) };
  });
  const connections = hosts.reduce(
    (sum, host) => sum + ('connections' in host ? (host.connections ?? 0) : 0),
    0,
  );
  return {
    connections,
    applied_on: hosts.filter(({ applied }) => applied).length,
    hosts_total: hosts.length,
    hosts,
  };
}

function problemOf({ problem, host_problem, revision }: Told, known: string): string {
  if (problem !== undefined || host_problem !== undefined) return problem ?? host_problem ?? '';
  return revision === known
    ? 'it is not in the kernel yet'
    : 'it is known otherwise there, or not in full yet';
}

async function askAgent(agent: AgentAddress, vips: readonly Vip[]): Promise<ReadonlyMap<string, Answer>> {
  return new Map(await Promise.all(vips.map(async ({ id }) => [id, await askOne(agent, id)] as const)));
}

async function askOne({ address, api_port: port }: AgentAddress, id: string): Promise<Answer> {
  const path = `${VIPS_INSPECT_PATH}?${new URLSearchParams({ vip: id }).toString()}`;
  try {
    const answer = await request({ host: address, port }, { method: 'GET', path, timeoutMs: TIMEOUT_MS });
    if (answer.status === NOT_FOUND) return 'it is not known there yet';
    return told.parse(answered(answer)).vips.find((each) => each.id === id) ?? 'it is not known there yet';
  } catch (error) {
    return describeError(error);
  }
}
