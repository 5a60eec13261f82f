/** `lab status`: one row per host. */
import { hostExists } from './host.ts';
import { daemonsOf, runningDaemon } from './daemons.ts';
import { hostPaths } from './paths.ts';
import { readAgentStatus, type LabAgentStatus } from './readiness.ts';
import { requireLabState, type LabHost, type LabState } from './state.ts';

export interface HostRow extends Readonly<Record<string, unknown>> {
  readonly host: string;
  readonly role: string;
  readonly underlay: string;
  readonly state: string;
  readonly vtep: string;
  readonly blocks: readonly string[];
  readonly nodes: number | string;
}

export async function labStatus(name: string): Promise<{ state: LabState; rows: readonly HostRow[] }> {
  const state = await requireLabState(name);
  return { state, rows: await Promise.all(state.hosts.map((host) => row(state, host))) };
}

async function row(state: LabState, host: LabHost): Promise<HostRow> {
  const agent = await readAgentStatus(state.name, host.name);
  return {
    host: host.name,
    role: host.role,
    underlay: host.address,
    state: await describeState(state, host, agent),
    vtep: agent?.overlays[0]?.backend.vxlan.vtep_ip ?? '',
    blocks: (agent?.overlays ?? []).flatMap((overlay) => {
      const block = overlay.subnet ?? overlay.subnet6;
      return block === undefined ? [] : [`${overlay.info.name} ${block}`];
    }),
    nodes: agent?.nodes ?? '',
  };
}

async function describeState(
  state: LabState,
  host: LabHost,
  agent: LabAgentStatus | undefined,
): Promise<string> {
  if (!(await hostExists(hostPaths(state.name, host.name)))) return 'off';
  const down = daemonsOf(host.role).filter((kind) => runningDaemon(state, host.name, kind) === undefined);
  if (down.length > 0) return `${down.join(' and ')} ${host.wanted ? 'dead' : 'stopped'}`;
  if (state.partition.includes(host.name)) return 'cut off';
  if (agent === undefined) return 'starting';
  return agent.registered && agent.applied ? 'ready' : agent.registered ? 'applying' : 'registering';
}
