/**
 * When a lab is ready: every agent registered, every node known to every agent, every kernel as desired, and every agent's
 * addresses for tasks known to the master, so that apps may go there.
 */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { sleep } from '../base/clock.ts';
import { PortolanError } from '../base/errors.ts';
import { request } from '../http/client.ts';
import { hostPaths, labPaths } from './paths.ts';
import type { LabHost } from './state.ts';

const POLL_MS = 100;
/** More are asked less often: they share the processors with whoever asks. */
const FEW_HOSTS = 8;
const REQUEST_TIMEOUT_MS = 5_000;

/** What the lab reads of `GET /v1/status`; the rest is for people. */
const agentStatus = z.object({
  node: z.string(),
  name: z.string(),
  registered: z.boolean(),
  applied: z.boolean(),
  nodes: z.int(),
  overlays: z.array(
    z.object({
      info: z.object({ name: z.string() }),
      subnet: z.string().optional(),
      subnet6: z.string().optional(),
      mesos_bridge: z.object({ ip: z.string().optional() }).optional(),
      docker_bridge: z.object({ ip: z.string().optional() }).optional(),
      backend: z.object({ vxlan: z.object({ vtep_ip: z.string(), vtep_mac: z.string() }) }),
      state: z.object({ status: z.string(), error: z.string().optional() }).optional(),
    }),
  ),
});
export type LabAgentStatus = z.infer<typeof agentStatus>;
const nodeList = z.object({ nodes: z.array(z.object({ name: z.string() })) });
/** Of the master's `GET /v1/nodes/NAME`. */
const nodeDetail = z.object({
  state: z.string().optional(),
  resources: z.object({ task_addresses: z.record(z.string(), z.unknown()) }).optional(),
});

/** `undefined` when the agent does not answer. */
export async function readAgentStatus(lab: string, host: string): Promise<LabAgentStatus | undefined> {
  const body = await ask(hostPaths(lab, host).agentSocket, '/v1/status');
  return body === undefined ? undefined : agentStatus.parse(body);
}

async function ask(socketPath: string, path: string): Promise<unknown> {
  if (!existsSync(socketPath)) return undefined;
  try {
    const answer = await request({ socketPath }, { method: 'GET', path, timeoutMs: REQUEST_TIMEOUT_MS });
    return answer.status === 200 ? answer.body : undefined;
  } catch {
    return undefined; // Not up yet, or down: the caller decides what that means.
  }
}

/** Names of the nodes that the agent of `host` knows. */
export async function knownNodes(lab: string, host: string): Promise<readonly string[]> {
  const body = await ask(hostPaths(lab, host).agentSocket, '/v1/nodes');
  return body === undefined ? [] : nodeList.parse(body).nodes.map((node) => node.name);
}

/** Whether the master would give this agent a task with an address of any of its overlays. */
async function isOffered(lab: string, { name, overlays }: LabAgentStatus): Promise<boolean> {
  const body = await ask(labPaths(lab).apiSocket, `/v1/nodes/${name}`);
  if (body === undefined) return false;
  const { state, resources } = nodeDetail.parse(body);
  const blocks = overlays.filter(({ subnet, subnet6 }) => subnet !== undefined || subnet6 !== undefined);
  return state === 'alive' && blocks.every(({ info }) => resources?.task_addresses[info.name] !== undefined);
}

/** Why a host is not ready, in words; `undefined` when it is. */
async function lacks(
  lab: string,
  { name: host, role }: LabHost,
  expected: readonly string[],
  masterless: boolean,
): Promise<string | undefined> {
  const status = await readAgentStatus(lab, host);
  if (status === undefined) return 'its agent does not answer';
  if (!status.registered && !masterless) return 'its agent is not registered';
  if (!status.applied) return 'its kernel is not as desired yet';
  if (status.nodes < expected.length) return `it knows ${status.nodes} nodes of ${expected.length}`;
  const known = new Set(await knownNodes(lab, host));
  const unknown = expected.filter((name) => !known.has(name));
  if (unknown.length > 0) return `it does not know ${unknown.join(', ')}`;
  if (role === 'master' || masterless || (await isOffered(lab, status))) return undefined;
  return 'the master does not know yet what it offers';
}

/** Waits for all `hosts`; calls `onReady` with each as it becomes so. */
export async function waitUntilReady(
  lab: string,
  hosts: readonly LabHost[],
  options: {
    readonly timeoutMs: number;
    /** No master runs that they could register with. */
    readonly masterless: boolean;
    /** Its agent will never answer. */
    hasEnded(host: string): boolean;
    readonly onReady?: (host: string) => void;
  },
): Promise<void> {
  const expected = hosts.map((host) => host.name);
  const end = performance.now() + options.timeoutMs;
  await Promise.all(
    hosts.map(async (host) => {
      for (;;) {
        const lack = await lacks(lab, host, expected, options.masterless);
        if (lack === undefined) break;
        const ended = options.hasEnded(host.name);
        if (ended || performance.now() > end) {
          const why = ended ? 'its agent has ended' : lack;
          throw new PortolanError('unavailable', `Cannot get host "${host.name}" ready: ${why}`, {
            remedy: `see ${hostPaths(lab, host.name).log}/agent.log`,
          });
        }
        await sleep(POLL_MS * Math.max(1, hosts.length / FEW_HOSTS));
      }
      options.onReady?.(host.name);
    }),
  );
}
