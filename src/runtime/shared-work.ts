/**
 * Work that several wait for and that is done once, such as bringing a file that many tasks want at the same time.
 *
 * Who gives up leaves the others waiting; work that nobody waits for any more is stopped. A result reaches everybody in
 * the turn in which the work ends: between its end and what they do first with it, nothing else happens.
 */
interface Work<T> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

export class SharedWork<T> {
  readonly #works = new Map<string, Work<T>>();

  /** Of any key. */
  get isUnderWay(): boolean {
    return this.#works.size > 0;
  }

  async join(key: string, signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const known = this.#works.get(key);
    const work = known?.abort.signal.aborted === false ? known : this.#begin(key, start);
    work.waiting += 1;
    return abandonable(work.result, signal).finally(() => {
      work.waiting -= 1;
      if (work.waiting === 0) work.abort.abort(signal.reason);
    });
  }

  #begin(key: string, start: (signal: AbortSignal) => Promise<T>): Work<T> {
    const abort = new AbortController();
    const result = start(abort.signal).finally(() => {
      if (this.#works.get(key) === work) this.#works.delete(key);
    });
    const work: Work<T> = { result, abort, waiting: 0 };
    this.#works.set(key, work);
    return work;
  }
}

function abandonable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}
