/**
 * Which of Docker's containers still run while the daemon says nothing: with `live-restore`, or when it was killed, they do;
 * when it was stopped without, they do not, and nobody should be sent to them. The kernel knows.
 */
import { isRunning, processIdentity, type ProcessIdentity } from '../runtime/process.ts';

/** This host's processes. */
export interface Processes {
  identify(pid: number): ProcessIdentity | undefined;
  isRunning(identity: ProcessIdentity): boolean;
}

const realProcesses: Processes = { identify: processIdentity, isRunning };

export class DockerAlive {
  readonly #processes: Processes;
  #known = new Map<string, ProcessIdentity>();

  constructor(processes: Processes = realProcesses) {
    this.#processes = processes;
  }

  /** Asked while the daemon answers; `pids` are first processes by container. */
  learn(pids: ReadonlyMap<string, number>): void {
    const next = new Map<string, ProcessIdentity>();
    for (const [container, pid] of pids) {
      const before = this.#known.get(container);
      const identity = before?.pid === pid ? before : this.#processes.identify(pid);
      if (identity !== undefined) next.set(container, identity);
    }
    this.#known = next;
  }

  /** True only where it is known: a daemon in another PID namespace speaks of processes that are not to be found here. */
  hasEnded(container: string): boolean {
    const identity = this.#known.get(container);
    return identity !== undefined && !this.#processes.isRunning(identity);
  }
}
