/**
 * UDP has no end that the kernel could see: connections to a backend that is gone would go on for as long as the client
 * sends. They are cut by name; those to one of weight 0 go on.
 */
import type { ConnectionFilter } from '../kernel/types.ts';
import { protocolNumber, usableBackends } from '../vip/render.ts';
import type { Vip } from '../vip/table.ts';

export class UdpConnections {
  /** Of the backends that may have connections, by VIP, as last compared. */
  readonly #vips = new Map<string, ReadonlyMap<string, ConnectionFilter>>();
  #doomed: ConnectionFilter[] = [];

  /** The VIP as it is now; `undefined`: gone. */
  compare(id: string, vip: Vip | undefined): void {
    if (!id.startsWith('udp/')) return;
    const now = new Map((vip === undefined ? [] : connectionsOf(vip)).map((each) => [textOf(each), each]));
    for (const [text, filter] of this.#vips.get(id) ?? []) if (!now.has(text)) this.#doomed.push(filter);
    if (now.size === 0) this.#vips.delete(id);
    else this.#vips.set(id, now);
  }

  /** Those to cut, once the maps have changed: a packet in between would make the connection anew. */
  takeDoomed(): readonly ConnectionFilter[] {
    const doomed = this.#doomed;
    this.#doomed = [];
    return doomed;
  }
}

function connectionsOf(vip: Vip): ConnectionFilter[] {
  return vip.addresses.flatMap((address) =>
    usableBackends(vip.backends)
      .filter((backend) => backend.address.family === address.family)
      .map((backend) => ({
        protocol: protocolNumber('udp'),
        address: backend.address,
        port: backend.port,
        addressed: { address, port: vip.port },
      })),
  );
}

function textOf({ address, port, addressed }: ConnectionFilter): string {
  return `${String(address)} ${port} ${String(addressed?.address)}`;
}
