/**
 * The networks of this host by address: which bridge a local container is on (ours, Docker's, anybody's), and what no
 * virtual address may lie in.
 *
 * Read from the kernel when links or addresses have changed; asked for every local backend.
 */
import type { IpAddress, Prefix } from '../base/ip.ts';
import type { Mac } from '../base/mac.ts';
import type { Kernel, Link } from '../kernel/types.ts';
import type { Reserved } from '../vip/table.ts';

interface HostNetwork {
  readonly link: string;
  readonly subnet: Prefix;
  /** Of a bridge. */
  readonly mac: Mac | undefined;
}

export interface HostNetworksInit {
  /** The links have been read. */
  onLinks(links: readonly Link[]): Promise<void>;
}

export class HostNetworks {
  readonly #kernel: Pick<Kernel, 'links' | 'addresses'>;
  readonly #init: HostNetworksInit;
  #networks: readonly HostNetwork[] = [];
  #isStale = true;

  constructor(components: { readonly kernel: Pick<Kernel, 'links' | 'addresses'> }, init: HostNetworksInit) {
    this.#kernel = components.kernel;
    this.#init = init;
  }

  invalidate(): void {
    this.#isStale = true;
  }

  /** Reads them where they may be others; answers whether they are. */
  async refresh(): Promise<boolean> {
    if (!this.#isStale) return false;
    this.#isStale = false;
    const [links, addresses] = [await this.#kernel.links(), await this.#kernel.addresses()];
    await this.#init.onLinks(links);
    const macs = new Map(
      links.flatMap(({ name, mac, details }) => (details.kind === 'bridge' ? [[name, mac] as const] : [])),
    );
    const networks = addresses.map(({ link, address }) => ({
      link,
      subnet: address.prefix,
      mac: macs.get(link),
    }));
    const isSame = textOf(networks) === textOf(this.#networks);
    this.#networks = networks;
    return !isSame;
  }

  bridgeMac(container: IpAddress): Mac | undefined {
    return this.#networks.find(({ subnet, mac }) => mac !== undefined && subnet.contains(container))?.mac;
  }

  reserved(): readonly Reserved[] {
    return this.#networks.map(({ link, subnet }) => ({
      prefix: subnet,
      owner: `this host's network ${String(subnet)} on ${link}`,
    }));
  }
}

const textOf = (networks: readonly HostNetwork[]): string =>
  networks
    .map(({ link, subnet, mac }) => `${link} ${String(subnet)} ${mac}`)
    .sort()
    .join('\n');
