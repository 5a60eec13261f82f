/** What the agents say of a VIP in their kernels: asked when somebody inspects it. */
import { request } from '../http/client.ts';
import { answered } from '../http/errors.ts';
import { z } from 'zod';
import { VIPS_INSPECT_PATH } from '../node/vip-api.ts';
import { vipRevision } from '../node/vip-view.ts';
import type { Vip } from '../vip/table.ts';

const TIMEOUT_MS = 3_000;
/** Agents asked at the same time. */
const PARALLEL = 32;

const told = z.object({
  vips: z.array(
    z.looseObject({
      id: z.string(),
      revision: z.string(),
      connections: z.number().optional(),
      applied: z.boolean().optional(),
    }),
  ),
});

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
  const answers = new Map<string, z.infer<typeof told>['vips']>();
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
  answers: ReadonlyMap<string, z.infer<typeof told>['vips']>,
): object {
  const revision = vipRevision(vip);
  const hosts = agents.map(({ name }) => {
    const found = answers.get(name)?.find(({ id }) => id === vip.id);
    if (found === undefined) return { host: name, applied: false };
    // One without an address is in no kernel.
    const applied = found.applied === true && found.revision === revision && vip.addresses.length > 0;
    return { host: name, applied, connections: found.connections ?? 0 };
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

/** Nothing from one that does not answer in time. */
async function askAgent(
  { address, api_port: port }: AgentAddress,
  vips: readonly Vip[],
): Promise<z.infer<typeof told>['vips']> {
  try {
    const answers = await Promise.all(
      vips.map(async ({ id }) => {
        const path = `${VIPS_INSPECT_PATH}?${new URLSearchParams({ vip: id }).toString()}`;
        const answer = await request({ host: address, port }, { method: 'GET', path, timeoutMs: TIMEOUT_MS });
        return told.parse(answered(answer)).vips;
      }),
    );
    return answers.flat();
  } catch {
    return [];
  }
}
