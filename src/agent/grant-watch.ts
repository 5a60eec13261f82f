/**
 * Whether this node's grant is of the network that the masters tell of: the word of an overlay comes before its block.
 *
 * A grant may differ from the network for good: of an overlay that has no block left a node gets none, and it keeps the
 * block of one that was disabled. So where they differ, a master that has been asked since has the last word.
 */
import type { Clock } from '../base/clock.ts';
import { keys } from '../model/record.ts';
import type { RecordExchange } from '../node/record-exchange.ts';
import type { Grant } from '../overlay/desired.ts';
import { isGrantOf } from '../overlay/expected-grant.ts';
import type { Registration } from './registration.ts';

/** Not all nodes ask at once: a master answers a registration within a few ms. */
const ASK_PER_NODE_MS = 2;

export interface GrantWatchInit {
  grant(): Pick<Grant, 'overlays'> | undefined;
  registration: Pick<Registration, 'askSoon' | 'confirmedAt'>;
  /** Nodes in the cluster. */
  nodes(): number;
  /** It was found not to be, and is now. */
  onCurrent(): void;
}

export class GrantWatch {
  readonly #exchange: Pick<RecordExchange, 'get' | 'subscribe'>;
  readonly #init: GrantWatchInit;
  readonly #unsubscribe: () => void;
  /** When the network's record came that is the latest. */
  #heardAt: number;
  #isAwaited = false;

  /** Before anybody who asks `isCurrent` when that record comes. */
  constructor(
    components: { readonly clock: Clock; readonly exchange: Pick<RecordExchange, 'get' | 'subscribe'> },
    init: GrantWatchInit,
  ) {
    const { clock, exchange } = components;
    this.#exchange = exchange;
    this.#init = init;
    this.#heardAt = clock.nowMs();
    this.#unsubscribe = exchange.subscribe(keys.network, () => {
      this.#heardAt = clock.nowMs();
      if (!this.isCurrent()) init.registration.askSoon(ASK_PER_NODE_MS * init.nodes());
    });
  }

  isCurrent(): boolean {
    const { grant, registration } = this.#init;
    const network = this.#exchange.get(keys.network)?.value;
    const isCurrent = isGrantOf(network, grant()) || registration.confirmedAt() > this.#heardAt;
    if (!isCurrent) this.#isAwaited = true;
    return isCurrent;
  }

  /** `confirmedAt` is another one. */
  confirmed(): void {
    if (!this.#isAwaited || !this.isCurrent()) return;
    this.#isAwaited = false;
    this.#init.onCurrent();
  }

  close(): void {
    this.#unsubscribe();
  }
}
