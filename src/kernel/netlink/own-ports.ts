/** What tells the echoes of our own changes from what others do. */

/** Longer than any program of ours runs and its notifications wait. */
const LENT_MS = 60_000;

/** Port ids of our sockets: a notification that carries one of them is the echo of our own change. */
export class OwnPorts {
  readonly #sockets = new Set<number>();
  readonly #lent = new Set<number>();
  readonly #watchers = new Set<(sockets: Iterable<number>) => void>();

  add(portId: number): void {
    this.#sockets.add(portId);
    this.#tell();
  }

  delete(portId: number): void {
    this.#sockets.delete(portId);
    this.#tell();
  }

  /** Calls back now and whenever our sockets are others; answers how to end it. */
  watch(watcher: (sockets: Iterable<number>) => void): () => void {
    this.#watchers.add(watcher);
    watcher(this.#sockets);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * A process we start: its first netlink socket has its process id as port (af_netlink.c, netlink_autobind). The
   * echoes of what it does are read when it may have ended.
   */
  lend(processId: number): void {
    this.#lent.add(processId);
    setTimeout(() => this.#lent.delete(processId), LENT_MS).unref();
  }

  has(portId: number): boolean {
    return this.#sockets.has(portId) || this.#lent.has(portId);
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher(this.#sockets);
  }
}
