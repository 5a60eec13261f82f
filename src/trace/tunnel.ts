/** Into and out of the VXLAN tunnel: neighbour, forwarding entry and outer route; and the same seen by the other end. */
import { describeFdb, describeNeighbour, describeRoute } from '../kernel/describe.ts';
import type { Link, LinkDetails, Route } from '../kernel/types.ts';
import type { TraceLeg, TracePacket, TraceTunnel } from '../model/trace.ts';
import { passHook } from './filter/hooks.ts';
import { lookUp } from './lookup.ts';
import type { HostState } from './state.ts';
import type { Way } from './way.ts';

type Tunnel = Link & { readonly details: Extract<LinkDetails, { kind: 'vxlan' }> };

const agentRemedy = 'the agent mends this within a second: see whether it runs, with "portolan doctor"';

export function intoTunnel(state: HostState, way: Way, link: Tunnel, taken: Route): TraceLeg {
  const nextHop = taken.gateway ?? way.destination;
  const neighbour = state.neighbours.find((each) => each.link === link.name && each.address.equals(nextHop));
  if (neighbour?.mac === undefined)
    return way.stop(
      'neighbour',
      `${String(nextHop)} dev ${link.name}`,
      `there is no neighbour entry for the VTEP ${String(nextHop)}`,
      agentRemedy,
    );
  way.pass('neighbour', describeNeighbour(neighbour));
  const entry = state.fdb.find((each) => each.link === link.name && each.mac === neighbour.mac);
  if (entry === undefined)
    return way.stop(
      'tunnel',
      `${neighbour.mac} dev ${link.name}`,
      `the forwarding database has no entry for ${neighbour.mac}`,
      agentRemedy,
    );
  way.pass('tunnel', describeFdb(entry));
  const outer = lookUp(state, { source: link.details.local, destination: entry.destination });
  const what = `UDP ${link.details.port} to ${String(entry.destination)}`;
  if (outer.kind === 'none')
    return way.stop(
      'underlay',
      what,
      `this host has no route to the other host's address ${String(entry.destination)}`,
      'mend the routes between the hosts themselves',
    );
  const { local } = link.details;
  if (local === undefined)
    return way.stop('tunnel', what, `${link.name} has no address of its own to send from`, agentRemedy);
  way.pass('underlay', outer.kind === 'local' ? what : `${what}: ${describeRoute(outer.route)}`);
  const tunnel: TraceTunnel = {
    outerSource: String(local),
    outerDestination: String(entry.destination),
    innerMac: neighbour.mac,
    vni: link.details.vni,
    port: link.details.port,
  };
  const outgoing = {
    iif: '',
    oif: outer.kind === 'local' ? 'lo' : (outer.route.link ?? ''),
    outer: outerPacket(tunnel),
  };
  return (
    passHook(state, way, { hook: 'output', ...outgoing }) ??
    passHook(state, way, { hook: 'postrouting', ...outgoing }) ??
    way.end({ kind: 'tunnel', tunnel })
  );
}

const outerPacket = ({ outerSource, outerDestination, port }: TraceTunnel): TracePacket => ({
  source: outerSource,
  destination: outerDestination,
  protocol: 'udp',
  port,
});

/** Answers where the way ends; `undefined` = the host's routing is next. */
export function outOfTunnel(state: HostState, way: Way, tunnel: TraceTunnel): TraceLeg | undefined {
  const what = `VXLAN ${tunnel.vni} from ${tunnel.outerSource}`;
  const holder = state.addresses.find(({ address }) => String(address.address) === tunnel.outerDestination);
  if (holder === undefined)
    return way.stop(
      'underlay',
      what,
      `this host does not have the address ${tunnel.outerDestination} that the tunnel leads to`,
      'the sender learns the new address within seconds; see "portolan node ls" there',
    );
  const incoming = { iif: holder.link, oif: '', outer: outerPacket(tunnel) };
  const filtered =
    passHook(state, way, { hook: 'prerouting', ...incoming }) ??
    passHook(state, way, { hook: 'input', ...incoming });
  if (filtered !== undefined) return filtered;
  const link = state.links.find(
    ({ details }) => details.kind === 'vxlan' && details.vni === tunnel.vni && details.port === tunnel.port,
  );
  if (link === undefined)
    return way.stop(
      'tunnel',
      what,
      `this host has no tunnel of VNI ${tunnel.vni} on UDP ${tunnel.port}`,
      'start the agent of this host',
    );
  if (!link.up) return way.stop('tunnel', what, `${link.name} is down`, agentRemedy);
  if (link.mac !== tunnel.innerMac)
    return way.stop(
      'tunnel',
      what,
      `the packet is for the MAC ${tunnel.innerMac}, but ${link.name} has ${link.mac ?? 'none'}`,
      agentRemedy,
    );
  if (!state.forwarding[way.destination.family])
    return way.stop(
      'tunnel',
      what,
      `this host does not forward IPv${way.destination.family}`,
      'see whether another program writes the sysctl of forwarding; the agent sets it again within a second',
    );
  way.pass('tunnel', `${what}, by ${link.name} ${link.mac}`);
  way.iif = link.name;
  return undefined;
}
