/** What one step asks the shell to do, gathered by the parts of the core. */
import type { LogFields } from '../base/log.ts';
import { encodeMessage, type Message, type Records } from './codec.ts';
import type { GossipEffect } from './events.ts';
import type { Link, Links } from './links.ts';

const nothing: readonly GossipEffect[] = [];

export class Outbox {
  readonly #links: Links;
  #effects: GossipEffect[] = [];

  constructor(links: Links) {
    this.#links = links;
  }

  /** Everything since the last call. */
  take(): readonly GossipEffect[] {
    if (this.#effects.length === 0) return nothing;
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Something goes to the peer already. */
  isTold({ connection }: Link): boolean {
    return this.#effects.some((effect) => effect.do === 'send' && effect.connection === connection);
  }

  add(effect: GossipEffect): void {
    this.#effects.push(effect);
  }

  send(link: Link, message: Exclude<Message, Records>): void {
    this.frame(link, encodeMessage(message));
  }

  frame(link: Link, frame: Uint8Array): void {
    this.#effects.push({ do: 'send', connection: link.connection, frame });
  }

  aside({ connection }: Link, bytes: Uint8Array): void {
    this.#effects.push({ do: 'aside', connection, bytes });
  }

  frames(link: Link, frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.frame(link, frame);
  }

  /** The shell answers with `disconnected`, which cleans up; until then the link takes no part. */
  disconnect(link: Link, reason: string): void {
    this.#links.close(link);
    this.#effects.push({ do: 'disconnect', connection: link.connection, reason });
  }

  reject(link: Link, reason: string): void {
    this.log('warn', 'refused a peer', { address: link.address, node: link.node, reason });
    this.disconnect(link, reason);
  }

  log(level: 'debug' | 'info' | 'warn', message: string, fields: LogFields): void {
    this.#effects.push({ do: 'log', level, message, fields });
  }
}
