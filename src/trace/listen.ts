/** What takes the packet where it has arrived: a process that listens, on this address or on all of them. */
import type { IpAddress } from '../base/ip.ts';
import type { TraceLeg } from '../model/trace.ts';
import type { Listener } from './state.ts';
import type { Way } from './way.ts';

export function listen(way: Way, listeners: readonly Listener[], who: string): TraceLeg {
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
