/**
 * Which task has which GPU of this host: each GPU is one task's at a time.
 *
 * What running containers have is in their records, so that an agent that starts knows it; what is being launched is kept
 * here until it is in one.
 */
import { PortolanError } from '../../base/errors.ts';
import { hostGpus, type Device } from '../../runtime/gpus.ts';

export interface GpuSharesInit {
  /** Where the host has its devices; absent = `/dev`. */
  readonly directory?: string;
}

export class GpuShares {
  readonly #directory: string | undefined;
  readonly #launching = new Map<string, readonly Device[]>();

  constructor(init: GpuSharesInit = {}) {
    this.#directory = init.directory;
  }

  /**
   * The devices of `count` GPUs that nobody has, for the container `id`; `taken` are the paths of those that containers
   * have. Nothing on a host without any, where the number was only configured. Throws 'exhausted'.
   */
  async take(id: string, count: number, taken: () => Promise<Iterable<string>>): Promise<readonly Device[]> {
    if (count === 0) return [];
    const { gpus, control } = await hostGpus(this.#directory);
    if (gpus.length === 0) return [];
    const used = new Set(await taken());
    for (const devices of this.#launching.values()) for (const { path } of devices) used.add(path);
    const own = gpus.filter(({ path }) => !used.has(path)).slice(0, count);
    if (own.length < count)
      throw new PortolanError('exhausted', `Cannot give the task ${count} GPUs: ${own.length} are free`, {
        field: 'gpus',
      });
    this.#launching.set(id, own);
    return [...own, ...control];
  }

  /** The container is in its record, or came to nothing. */
  launched(id: string): void {
    this.#launching.delete(id);
  }
}
