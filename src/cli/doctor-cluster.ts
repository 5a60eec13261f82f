/** What the doctor asks of this host's ports, its agent, the masters and the other nodes. */
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import type { Check } from '../agent/preflight.ts';
import { parseTarget, request, type HttpTarget } from '../http/client.ts';
import { portPerhapsInUse } from '../kernel/port-probe.ts';
import { agentConfig, type AgentConfig } from '../model/config.ts';
import { loadConfigFile } from '../model/config-file.ts';
import { portHolders } from './port-holders.ts';
import {
  judgeClock,
  judgeMasters,
  judgeNodes,
  judgePort,
  type ClockSample,
  type PortState,
  type SeenNode,
} from './doctor-judge.ts';

const TIMEOUT_MS = 2_000;
const VXLAN_PORT = 64_000;
/** More clocks than these tell nothing more. */
const MAX_CLOCKS = 8;

export interface DoctorAgent {
  readonly target: HttpTarget;
  /** It runs, and does not answer: what holds its ports is most likely itself. */
  readonly isSilent: boolean;
  /** The underlay address; absent while it does not answer. */
  readonly address?: string | null;
}

export async function clusterChecks(agent: DoctorAgent): Promise<readonly Check[]> {
  const config = await loadConfigFile(agentConfig, undefined, '/etc/portolan/agent.yaml');
  const isRunning = agent.address !== undefined;
  // Of an agent that is silent nobody can say whether it hears datagrams.
  const asked = portsOf(config).filter(({ name }) => !agent.isSilent || name !== 'beats');
  const ports = await Promise.all(asked.map((port) => portState(port, { agent, config })));
  const { nodes } = isRunning
    ? await ask<{ nodes: readonly Node[] }>(agent.target, '/v1/nodes', { nodes: [] })
    : { nodes: [] };
  const told = isRunning
    ? await ask<{ masters: readonly string[] }>(agent.target, '/v1/masters', { masters: [] })
    : { masters: [] };
  const masters = [...new Set([...config.masters, ...told.masters])];
  const clocks = await Promise.all(masters.map(sample));
  const answers = new Map(masters.map((master, i) => [master, clocks[i] !== undefined]));
  const samples = clocks.filter((each) => each !== undefined);
  if (samples.length === 0) samples.push(...(await peerClocks(nodes)));
  return [
    ...ports.map(judgePort),
    judgeMasters(answers),
    ...(isRunning ? [judgeNodes(nodes)] : []),
    judgeClock(samples),
  ];
}

interface Node extends SeenNode {
  readonly address: string;
  readonly api_port: number;
}

function portsOf(config: AgentConfig): readonly Omit<PortState, 'state'>[] {
  return [
    { name: 'exchange', protocol: 'tcp', port: config.gossip_port },
    { name: 'beats', protocol: 'udp', port: config.gossip_port },
    { name: 'api', protocol: 'tcp', port: config.http_port },
    { name: 'vxlan', protocol: 'udp', port: VXLAN_PORT },
  ];
}

async function portState(
  wanted: Omit<PortState, 'state'>,
  { agent, config }: { readonly agent: DoctorAgent; readonly config: AgentConfig },
): Promise<PortState> {
  const { name, protocol, port } = wanted;
  if (protocol === 'tcp' && agent.address !== undefined && agent.address !== null)
    return { ...wanted, state: (await answers(agent.address, port)) ? 'ours' : 'silent' };
  const isRunning = agent.address !== undefined;
  if (!portPerhapsInUse(protocol, port))
    return { ...wanted, state: isRunning && name === 'beats' ? 'silent' : 'free' };
  // The tunnel stays in the kernel without its agent.
  const isTunnel = name === 'vxlan' && existsSync('/sys/class/net/vtep1024');
  if (isTunnel) return { ...wanted, state: 'ours' };
  if (isRunning && name === 'beats') return { ...wanted, state: isAgents(port, config) ? 'ours' : 'taken' };
  return { ...wanted, state: agent.isSilent && name !== 'vxlan' ? 'silent' : 'taken' };
}

/** Whoever listens at the API's port, which has just answered, has this one of UDP too; true when it cannot be told. */
function isAgents(udpPort: number, config: AgentConfig): boolean {
  const [agents, holders] = [portHolders('tcp', config.http_port), portHolders('udp', udpPort)];
  return agents.size === 0 || holders.size === 0 || [...holders].some((each) => agents.has(each));
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: TIMEOUT_MS });
    const end = (answered: boolean) => (): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', end(true)).once('error', end(false)).once('timeout', end(false));
  });
}

/** `undefined` when nobody answers there. */
async function sample(of: string): Promise<ClockSample | undefined> {
  const before = Date.now();
  try {
    const { dateMs } = await request(parseTarget(of), {
      method: 'GET',
      path: '/health',
      timeoutMs: TIMEOUT_MS,
    });
    const here = (before + Date.now()) / 2;
    // The header has dropped the milliseconds.
    return dateMs === undefined ? undefined : { of, skewMs: dateMs + 500 - here };
  } catch {
    return undefined; // The check "masters" names it.
  }
}

async function peerClocks(nodes: readonly Node[]): Promise<readonly ClockSample[]> {
  const peers = nodes.filter(({ state }) => state === 'alive').slice(0, MAX_CLOCKS);
  const found = await Promise.all(
    peers.map(({ address, api_port: port }) =>
      sample(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`),
    ),
  );
  return found.filter((each) => each !== undefined);
}

async function ask<T>(target: HttpTarget, path: string, otherwise: T): Promise<T> {
  const answer = await request(target, { method: 'GET', path, timeoutMs: TIMEOUT_MS }).catch(() => undefined);
  return answer?.status === 200 ? (answer.body as T) : otherwise;
}
