/** The last steps: through the bridge into a container, or up to a process of the host. */
import type { TraceLeg } from '../model/trace.ts';
import { crossBridge, missingAddress } from './depart.ts';
import { passInside } from './inside.ts';
import { listen } from './listen.ts';
import type { HostState, LocalContainer } from './state.ts';
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
  const iif = inside.addresses.find(({ address }) => address.address.equals(way.destination))?.link ?? '';
  const filtered = passInside(state, way, container, [
    { hook: 'prerouting', iif, oif: '' },
    { hook: 'input', iif, oif: '' },
  ]);
  if (filtered !== undefined) return filtered;
  return isAnswer ? way.end({ kind: 'delivered', to: name }) : listen(way, inside.listeners, name);
}

function toHost(state: HostState, way: Way, isAnswer: boolean): TraceLeg {
  if (isAnswer) return way.end({ kind: 'delivered', to: state.host });
  return listen(way, state.listeners, state.host);
}
