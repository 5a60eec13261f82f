/** What a container needs while it runs: its addresses, should they become somebody else's, and room for its log. */
import type { Log } from '../base/log.ts';
import { rewriteHosts, rootfsPaths } from '../runtime/rootfs.ts';
import { rotateLog, type ContainerPaths } from '../runtime/runc.ts';
import { addressesOf, bareAddresses, type ContainerNetwork } from './container-network.ts';
import { writeRecord, type ContainerInterface, type ContainerRecord } from './container-record.ts';

export interface ContainerUpkeepInit {
  readonly logMaxBytes: number;
  directory(id: string): string;
  paths(id: string): ContainerPaths;
  /** False = the host has forgotten the attachment, as a node does that gave up its block. */
  attached(interfaceOf: { readonly container: string; readonly ifname: string }): boolean;
  /** One at a time per container. */
  alone(id: string, action: () => Promise<void>): Promise<void>;
}

export class ContainerUpkeep {
  readonly #components: { readonly log: Log; readonly network: ContainerNetwork };
  readonly #init: ContainerUpkeepInit;

  constructor(
    components: { readonly log: Log; readonly network: ContainerNetwork },
    init: ContainerUpkeepInit,
  ) {
    this.#components = components;
    this.#init = init;
  }

  async keepUp(record: ContainerRecord): Promise<void> {
    await this.#keepAttached(record);
    const { logMaxBytes } = this.#init;
    await rotateLog(this.#init.paths(record.id), logMaxBytes).catch((error: unknown) =>
      this.#components.log.warn("A container's log could not be begun anew", { container: record.id, error }),
    );
  }

  /** A container whose addresses became somebody else's gets others. */
  async #keepAttached(record: ContainerRecord): Promise<void> {
    const container = record.id;
    const lost = record.interfaces.filter(
      ({ result, ifname }) => result === undefined || !this.#init.attached({ container, ifname }),
    );
    if (lost.length === 0) return;
    const was = lost.flatMap(({ addresses }) => addresses);
    const fields = { container, name: record.name, was };
    try {
      await this.#init.alone(container, () => this.#attachAgain(record, lost));
      const addresses = addressesOf(record);
      this.#components.log.warn('Container was given other addresses', { ...fields, addresses });
    } catch (error) {
      if (was.length > 0)
        this.#components.log.warn('Container has no network until it can be attached again', {
          ...fields,
          error,
        });
    }
  }

  async #attachAgain(record: ContainerRecord, lost: readonly ContainerInterface[]): Promise<void> {
    const directory = this.#init.directory(record.id);
    const save = (): Promise<void> => writeRecord(directory, record);
    await this.#components.network.attachAgain(record, lost, save);
    const files = { hostname: record.hostname, addresses: bareAddresses(record) };
    await rewriteHosts(rootfsPaths(directory), files);
  }
}
