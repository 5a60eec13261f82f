/**
 * A peer that speaks the protocol by repeating what it has overheard: messages twice, out of order, of another node, of
 * long ago; and that makes up records of others. Mutual TLS keeps such a peer out; what it says must do no harm where
 * there is none.
 */
import { randomBelow, type Random } from '../src/base/random.ts';
import { encodeRecords } from '../src/gossip/codec.ts';
import type { NodeId } from '../src/model/names.ts';
import { keys } from '../src/model/record.ts';
import type { MemoryNetwork } from '../src/peer/memory.ts';
import type { PeerConnection } from '../src/peer/types.ts';
import { PORT } from './address.ts';

const ADDRESS = '10.99.0.1';
/** Enough to hold messages of long ago. */
const MAX_HEARD = 5_000;
const FRAMES_PER_CALL = 100;

/** What no node has ever said: whoever holds it has believed a stranger. */
export const LIE = 'a lie';

/** Newer than anything there is. */
function lie(key: string): Uint8Array {
  const record = { key, version: { epoch: 1_000_000, sequence: 0 }, value: LIE };
  return encodeRecords([JSON.stringify(record)], { repair: false });
}

export class HostilePeer {
  readonly #network: MemoryNetwork;
  readonly #random: Random;
  readonly #heard: Uint8Array[] = [];
  /** First messages of connections: without one of these nobody listens. */
  readonly #greetings: Uint8Array[] = [];
  /** Whose records it makes up. */
  readonly #keys: readonly string[];

  constructor(components: {
    readonly network: MemoryNetwork;
    readonly random: Random;
    readonly hosts: readonly { readonly node: NodeId }[];
  }) {
    this.#network = components.network;
    this.#random = components.random;
    const cluster = [keys.masters, keys.network];
    this.#keys = [
      ...cluster,
      ...components.hosts.flatMap(({ node }) => [keys.node(node), keys.removed(node)]),
    ];
  }

  /** What others send, so that it can be said again. */
  overhear(frame: Uint8Array, isFirst: boolean): void {
    if (isFirst) this.#keep(this.#greetings, frame);
    this.#keep(this.#heard, frame);
  }

  /** Calls one node and repeats a hundred messages at random, some of them twice. */
  async call(address: string): Promise<void> {
    const transport = this.#network.transport(ADDRESS);
    let connection: PeerConnection;
    try {
      connection = await transport.connect({ host: address, port: PORT }, { timeoutMs: 2_000 });
    } catch {
      return;
    }
    connection.onFrame(() => undefined);
    connection.onClose(() => undefined);
    this.#say(connection, this.#greetings);
    for (let i = 0; i < FRAMES_PER_CALL; i++) this.#say(connection, this.#heard);
    for (const key of this.#keys) connection.send(lie(key));
  }

  #say(connection: PeerConnection, from: readonly Uint8Array[]): void {
    const frame = from[randomBelow(this.#random, from.length)];
    if (frame === undefined) return;
    connection.send(frame);
    if (this.#random.next() < 0.2) connection.send(frame);
  }

  /** Old ones give way at random, so that some stay for long. */
  #keep(frames: Uint8Array[], frame: Uint8Array): void {
    if (frames.length < MAX_HEARD) frames.push(frame);
    else frames[randomBelow(this.#random, MAX_HEARD)] = frame;
  }
}
