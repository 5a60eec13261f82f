/** From a process to its host's routing: what a container's own namespace and the bridge decide. */
import { describeRoute } from '../kernel/describe.ts';
import type { TraceLeg } from '../model/trace.ts';
import { passInside } from './inside.ts';
import { listen } from './listen.ts';
import { lookUp } from './lookup.ts';
import type { HostState, Inside, LocalContainer } from './state.ts';
import type { Way } from './way.ts';

/** Answers where the way ends; `undefined` = the host's routing is next. A source on the host itself starts there. */
export function startInContainer(state: HostState, way: Way): TraceLeg | undefined {
  const container = containerWith(state, way);
  if (container === undefined) return undefined;
  way.iif = container.bridge;
  way.bridged = state.containers.some(
    ({ bridge, addresses }) =>
      bridge === container.bridge && addresses.some(({ address }) => address.equals(way.destination)),
  );
  return (
    leaveContainer(state, way, container) ??
    crossBridge(state, way, container) ??
    (way.bridged ? undefined : mayForward(state, way, container))
  );
}

function containerWith(state: HostState, way: Way): LocalContainer | undefined {
  return state.containers.find(({ addresses }) =>
    addresses.some(({ address }) => address.equals(way.source)),
  );
}

function leaveContainer(state: HostState, way: Way, container: LocalContainer): TraceLeg | undefined {
  const { name, inside } = container;
  const who = `${name} ${String(way.source)}`;
  if (inside === undefined) {
    way.pass('container', `${who} (its own routes are not looked at)`);
    return undefined;
  }
  const missing = missingAddress(way, inside, who, way.source.toString());
  if (missing !== undefined) return missing;
  const found = lookUp(inside, way);
  if (found.kind === 'none')
    return way.stop(
      'container',
      who,
      `the container has no route to ${String(way.destination)}`,
      'restart the container: its routes come with its interface',
    );
  if (found.kind === 'local') {
    way.pass('container', `${who}, to itself`);
    return way.isAnswer ? way.end({ kind: 'delivered', to: name }) : listen(way, inside.listeners, name);
  }
  way.pass('container', `${who}, ${describeRoute(found.route)}`);
  if (found.route.gateway !== undefined) way.bridged = false;
  const oif = found.route.link ?? '';
  return passInside(state, way, container, [
    { hook: 'output', iif: '', oif },
    { hook: 'postrouting', iif: '', oif },
  ]);
}

/** The address must be on an interface of the container that is up. */
export function missingAddress(way: Way, inside: Inside, who: string, address: string): TraceLeg | undefined {
  const holder = inside.addresses.find((each) => String(each.address.address) === address);
  const restart = 'restart the container: it gets its interface anew';
  if (holder === undefined)
    return way.stop('container', who, `the container has lost its address ${address}`, restart);
  const link = inside.links.find(({ name }) => name === holder.link);
  if (link?.up !== true)
    return way.stop('container', who, `the container's interface ${holder.link} is down`, restart);
  return undefined;
}

/** The host's end of the veth pair, and the bridge it is a port of. */
export function crossBridge(state: HostState, way: Way, container: LocalContainer): TraceLeg | undefined {
  const { hostLink, bridge } = container;
  const device = state.links.find(({ name }) => name === bridge);
  if (device === undefined)
    return way.stop('bridge', bridge, `the bridge ${bridge} is not there`, agentRemedy);
  if (!device.up) return way.stop('bridge', bridge, `the bridge ${bridge} is down`, agentRemedy);
  if (hostLink === undefined) {
    way.pass('bridge', bridge);
    return undefined;
  }
  const port = state.links.find(({ name }) => name === hostLink);
  const what = `${hostLink} in ${bridge}`;
  if (port === undefined)
    return way.stop(
      'bridge',
      what,
      `the host's end ${hostLink} of the container's interface is not there`,
      'restart the container: it gets its interface anew',
    );
  if (port.master !== bridge)
    return way.stop('bridge', what, `${hostLink} is not a port of ${bridge}`, agentRemedy);
  if (!port.up) return way.stop('bridge', what, `${hostLink} is down`, agentRemedy);
  way.pass('bridge', what);
  return undefined;
}

const agentRemedy = 'the agent mends this within a second: see whether it runs, with "portolan doctor"';

function mayForward(state: HostState, way: Way, container: LocalContainer): TraceLeg | undefined {
  const { family } = way.source;
  if (state.forwarding[family]) return undefined;
  return way.stop(
    'route',
    container.bridge,
    `this host does not forward IPv${family}`,
    'see whether another program writes the sysctl of forwarding; the agent sets it again within a second',
  );
}
