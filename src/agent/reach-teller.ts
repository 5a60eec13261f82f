/**
 * Tells the others whom this agent cannot reach, so that any of them can say for whom a node is unreachable.
 *
 * For people, not for the data path, so it is in no hurry: what lasts is told, bounded in size, and at a moment chosen
 * by chance, since when a node dies everybody has the same to tell.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { NodeId } from '../model/names.ts';
import { keys, MAX_UNREACHABLE_NAMED } from '../model/record.ts';
import type { RecordExchange } from '../node/record-exchange.ts';

/** What lasts shorter is not worth a word. */
const SETTLE_MS = 1_000;
/** A node hears everybody's word: at most 250 of them a second, whatever the size of the cluster. */
const SPREAD_PER_NODE_MS = 4;

export interface ReachTellerComponents {
  readonly exchange: Pick<RecordExchange, 'get' | 'members' | 'subscribeMembers' | 'publish' | 'withdraw'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class ReachTeller {
  readonly #components: ReachTellerComponents;
  readonly #node: NodeId;
  readonly #unsubscribe: () => void;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(components: ReachTellerComponents, init: { readonly node: NodeId }) {
    this.#components = components;
    this.#node = init.node;
    this.#unsubscribe = components.exchange.subscribeMembers(() => this.#soon());
    // What an earlier life of this agent told may not be true any more.
    this.#soon();
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#timer?.cancel();
  }

  #soon(): void {
    const { clock, exchange, random } = this.#components;
    const spreadMs = SPREAD_PER_NODE_MS * exchange.members().length * random.next();
    this.#timer ??= clock.after(SETTLE_MS + spreadMs, () => {
      this.#timer = undefined;
      this.#tell().catch((error: unknown) => {
        // A removed node has no say any more; its session is about to end.
        if (!this.#isClosed)
          this.#components.log.warn('Cannot publish whom this node cannot reach', { error });
      });
    });
  }

  async #tell(): Promise<void> {
    const { exchange } = this.#components;
    const hidden = exchange.members().filter(({ state }) => state === 'unreachable');
    const nodes = hidden.map(({ node }) => node).sort();
    const key = keys.unreachable(this.#node);
    if (nodes.length > 0)
      await exchange.publish(key, { nodes: nodes.slice(0, MAX_UNREACHABLE_NAMED), count: nodes.length });
    else if ((exchange.get(key)?.value ?? null) !== null) await exchange.withdraw(key);
  }
}
