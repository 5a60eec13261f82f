/** Who wants to hear of records and members. One that fails keeps nothing from the others. */
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { GossipRecord } from '../model/record.ts';
import type { MemberStatus } from './record-exchange.ts';

interface Subscription {
  readonly prefix: string;
  readonly listener: (changes: readonly GossipRecord[]) => void;
}

export class ExchangeListeners {
  readonly #log: Log;
  readonly #subscriptions = new Set<Subscription>();
  readonly #members = new Set<(changes: readonly MemberStatus[]) => void>();

  constructor(log: Log) {
    this.#log = log;
  }

  subscribe(prefix: string, listener: Subscription['listener']): () => void {
    const subscription: Subscription = { prefix, listener };
    this.#subscriptions.add(subscription);
    return () => this.#subscriptions.delete(subscription);
  }

  subscribeMembers(listener: (changes: readonly MemberStatus[]) => void): () => void {
    this.#members.add(listener);
    return () => this.#members.delete(listener);
  }

  notify(changes: readonly GossipRecord[]): void {
    for (const { prefix, listener } of Array.from(this.#subscriptions)) {
      const seen = changes.filter(({ key }) => key.startsWith(prefix));
      if (seen.length > 0) this.#call(prefix, () => listener(seen));
    }
  }

  /** `changes` is called when somebody wants to hear. */
  notifyMembers(changes: () => readonly MemberStatus[]): void {
    if (this.#members.size === 0) return;
    const members = changes();
    for (const listener of Array.from(this.#members)) this.#call('members', () => listener(members));
  }

  #call(prefix: string, listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#log.error('a listener failed', { prefix, error: describeError(error) });
    }
  }
}
