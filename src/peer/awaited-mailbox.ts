/**
 * The mailbox of a transport, as soon as it can be opened: another program may have its port when the node starts.
 *
 * Invariants: whoever has none says all over the streams; a cause is logged once, and that it is gone.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Timer } from '../base/timeline.ts';
import type { Asides } from './asides.ts';
import type { Mailbox } from './types.ts';

const AGAIN_MS = 10_000;

export interface AwaitedMailboxComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly asides: Asides;
}

export class AwaitedMailbox {
  readonly #components: AwaitedMailboxComponents;
  readonly #open: () => Mailbox;
  #again: Timer | undefined;
  #isWarned = false;

  /** `open` throws while the mailbox cannot be opened. */
  constructor(components: AwaitedMailboxComponents, open: () => Mailbox) {
    this.#components = components;
    this.#open = open;
    this.#try();
  }

  close(): void {
    this.#again?.cancel();
    this.#components.asides.mailbox?.close();
    this.#components.asides.mailbox = undefined;
  }

  #try(): void {
    const { clock, log, asides } = this.#components;
    try {
      asides.mailbox = this.#open();
      if (this.#isWarned) log.info('Datagrams of peers are received now');
    } catch (error) {
      if (!this.#isWarned)
        log.warn('Cannot receive datagrams of peers: they beat over their streams', { error });
      this.#isWarned = true;
      this.#again = clock.after(AGAIN_MS, () => this.#try());
    }
  }
}
