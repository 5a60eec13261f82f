/**
 * Docker's containers on bridges of ours and on its default bridge, as ports that may get back what they sent.
 *
 * Where packets within a bridge go through netfilter (dockerd sees to that), one that was sent to a VIP and translated to
 * a container of the same bridge goes from port to port and never comes to the host's routing. If that container is the
 * sender itself, the port has to have hairpin mode, which Docker gives to none (br_netfilter_hooks.c, "bridged_dnat").
 * Invariants: a port is set once; the mode goes with the container.
 */
import type { Log } from '../base/log.ts';
import { isErrno, type Kernel, type Link } from '../kernel/types.ts';
import { DOCKER_DEFAULT_BRIDGE, isDockerBridgeName } from '../model/overlay.ts';

export class DockerPorts {
  readonly #kernel: Pick<Kernel, 'apply'>;
  readonly #log: Log;
  /** By index and bridge: a port that changes its bridge begins anew. */
  #set: ReadonlySet<string> = new Set();

  constructor(components: { readonly kernel: Pick<Kernel, 'apply'>; readonly log: Log }) {
    this.#kernel = components.kernel;
    this.#log = components.log;
  }

  /** `links`: all of this host, as they are now. */
  async ensure(links: readonly Link[]): Promise<void> {
    const ports = links.filter(({ master }) => master !== undefined && mayHaveVips(master));
    const fresh = ports.filter((port) => !this.#set.has(keyOf(port)));
    if (fresh.length === 0) return;
    const failures = await this.#kernel.apply(
      fresh.map(({ name }) => ({ do: 'link-set', name, settings: { hairpin: true } })),
    );
    const failed = new Set(failures.map(({ index }) => fresh[index]).filter((port) => port !== undefined));
    for (const { operation, error } of failures)
      // A container that has ended in between takes its port along.
      if (!isErrno(error, 'ENODEV'))
        this.#log.warn('A Docker container will not reach itself by a VIP of its own', {
          what: operation,
          error: error.message,
        });
    this.#set = new Set(ports.filter((port) => !failed.has(port)).map(keyOf));
  }
}

const mayHaveVips = (bridge: string): boolean =>
  isDockerBridgeName(bridge) || bridge === DOCKER_DEFAULT_BRIDGE;

const keyOf = ({ index, master }: Link): string => `${index} ${master}`;
