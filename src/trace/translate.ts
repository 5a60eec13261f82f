/** Destination translation: a VIP's port to one of its backends, a port of the host to a container's. */
import { ip } from '../base/ip.ts';
import type { TraceLeg } from '../model/trace.ts';
import type { HostState, TracedBackend } from './state.ts';
import type { Way } from './way.ts';

/** Answers where the way ends; `undefined` = it goes on, to the way's (perhaps changed) destination. */
export function translate(state: HostState, way: Way): TraceLeg | undefined {
  const { protocol, port } = way.packet;
  if (protocol === 'icmp' || port === undefined) return refusePing(state, way);
  const backends = state.vip(way.destination, protocol, port);
  if (backends !== undefined) return toBackend(way, backends);
  toHostPort(state, way, protocol, port);
  return undefined;
}

/** Any port tells whether the address is a VIP's. */
function refusePing(state: HostState, way: Way): TraceLeg | undefined {
  const { destination } = way;
  if (state.vip(destination, 'tcp', 1) === undefined) return undefined;
  return way.stop(
    'vip',
    String(destination),
    'a VIP answers at its ports only, and to no ping',
    'name one of its ports: NAME:PORT; "portolan vip ls" lists them',
  );
}

function toBackend(way: Way, backends: readonly TracedBackend[]): TraceLeg | undefined {
  const { protocol, port, destination } = way.packet;
  const vip = `${protocol} ${destination}:${String(port)}`;
  const open = backends.filter(({ weight }) => weight > 0);
  const [chosen] = open;
  if (chosen === undefined)
    return way.stop(
      'vip',
      vip,
      backends.length === 0
        ? 'the VIP has no backend at this port: new connections are refused'
        : `none of the VIP's ${backends.length} backends takes new connections: they are unhealthy or about to end`,
      'list the backends and their state with "portolan vip inspect"',
    );
  const others = open.length === 1 ? '' : `, one of ${open.length} backends`;
  way.pass('vip', `${vip} -> ${String(chosen.address)}:${chosen.port}${others}`);
  way.translate({ address: String(chosen.address), port: chosen.port });
  return undefined;
}

function toHostPort(state: HostState, way: Way, protocol: string, port: number): void {
  const to = way.destination;
  if (!state.addresses.some(({ address }) => address.address.equals(to))) return;
  for (const container of state.containers) {
    const mapping = container.ports.find(
      (each) =>
        each.protocol === protocol &&
        each.hostPort === port &&
        (each.hostIP === undefined || ip(each.hostIP).equals(to)),
    );
    const inner = container.addresses.find(({ address }) => address.family === to.family);
    if (mapping === undefined || inner === undefined) continue;
    const destination = String(inner.address);
    way.pass('host-port', `${protocol} ${String(to)}:${port} -> ${destination}:${mapping.containerPort}`);
    way.translate({ address: destination, port: mapping.containerPort });
    return;
  }
}
