/** One operation at a time for each key; different keys do not wait for one another. */

export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  held(key: string): boolean {
    return this.#tails.has(key);
  }

  /** Keys that are held. */
  get size(): number {
    return this.#tails.size;
  }

  async run<T>(key: string, action: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.then(action, action);
    this.#tails.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === mine) this.#tails.delete(key);
    }
  }
}
