/** The last steps: through the bridge into a container, or up to a process of the host. */
import type { IpAddress } from '../base/ip.ts';
import type { TraceLeg } from '../model/trace.ts';
import { crossBridge, missingAddress } from './depart.ts';
import type { HostState, Listener, LocalContainer } from './state.ts';
import type { Way } from './way.ts';

export interface Delivery {
  /** Absent = the host itself. */
  readonly container: LocalContainer | undefined;
  /** An answer needs no listener. */
  readonly isAnswer: boolean;
}

export function deliver(state: HostState, way: Way, { container, isAnswer }: Delivery): TraceLeg {
  if (container === undefined) return toHost(state, way, isAnswer);
  const { name, inside } = container;
  const stopped = crossBridge(state, way, container);
  if (stopped !== undefined) return stopped;
  const who = `${name} ${String(way.destination)}`;
  if (inside === undefined) {
    way.pass('container', `${who} (its inside is not looked at)`);
    return way.end({ kind: 'delivered', to: name });
  }
  const missing = missingAddress(way, inside, who, String(way.destination));
  if (missing !== undefined) return missing;
  way.pass('container', who);
  return isAnswer ? way.end({ kind: 'delivered', to: name }) : listen(way, inside.listeners, name);
}

function toHost(state: HostState, way: Way, isAnswer: boolean): TraceLeg {
  if (isAnswer) return way.end({ kind: 'delivered', to: state.host });
  return listen(way, state.listeners, state.host);
}

function listen(way: Way, listeners: readonly Listener[], who: string): TraceLeg {
  const { protocol, port } = way.packet;
  if (protocol === 'icmp' || port === undefined) return way.end({ kind: 'delivered', to: who });
  const what = `${protocol} ${String(way.destination)}:${port}`;
  const atPort = listeners.filter((each) => each.protocol === protocol && each.port === port);
  if (atPort.some(({ address }) => answers(address, way.destination))) {
    way.pass('listener', `${who} listens on ${what}`);
    return way.end({ kind: 'delivered', to: who });
  }
  const [other] = atPort;
  if (other !== undefined)
    return way.stop(
      'listener',
      what,
      `the process in ${who} listens on ${String(other.address)}:${port} only`,
      'let it listen on all addresses (0.0.0.0 or ::)',
    );
  return way.stop(
    'listener',
    what,
    `nothing listens on ${protocol} port ${port} in ${who}: connections are refused`,
    'start the service, or ask for the port it listens on',
  );
}

/** `::` takes IPv4 too, as Linux has it unless a socket says otherwise. */
function answers(listening: IpAddress, destination: IpAddress): boolean {
  if (listening.value === 0n) return listening.family === destination.family || listening.family === 6;
  return listening.equals(destination);
}
