/** A native container's places on its networks: found, taken and given back by CNI, as any runtime would. */
import { PortolanError } from '../base/errors.ts';
import { parseInterfaceAddress } from '../base/ip.ts';
import { PLUGIN_TYPE } from '../cni/config.ts';
import type { PortMapping } from '../model/endpoint.ts';
import {
  cniAdd,
  cniDelete,
  readConflists,
  type Attachment,
  type CniRuntimeInit,
  type Conflist,
} from '../runtime/cni-runtime.ts';
import type { ContainerInterface, ContainerRecord } from './container-record.ts';

export interface ContainerNetworkInit {
  readonly cniDir: string;
  readonly cni: CniRuntimeInit;
  /** Those of this host, in the order of the cluster's configuration. */
  overlays(): readonly string[];
}

/** A network that a container shall be on; without a name the first overlay. */
export interface NetworkWish {
  readonly name: string | undefined;
  readonly ports: readonly PortMapping[];
}

export class ContainerNetwork {
  readonly #init: ContainerNetworkInit;

  constructor(init: ContainerNetworkInit) {
    this.#init = init;
  }

  /** One interface for each, `eth0` first. */
  async interfaces(wishes: readonly NetworkWish[]): Promise<ContainerInterface[]> {
    const interfaces: ContainerInterface[] = [];
    for (const [i, { name, ports }] of wishes.entries()) {
      const conflist = await this.#conflist(name);
      interfaces.push({
        network: conflist.name,
        ifname: `eth${i}`,
        ports: [...ports],
        conflist: conflist as ContainerInterface['conflist'],
        addresses: [],
      });
    }
    return interfaces;
  }

  /** The configuration of a network; without a name that of the first overlay. */
  async #conflist(network: string | undefined): Promise<Conflist> {
    const lists = await readConflists(this.#init.cniDir);
    // Without a name it must be an overlay: other runtimes keep their own networks in the same directory.
    const overlays = lists.filter((list) => list.plugins.some((plugin) => plugin.type === PLUGIN_TYPE));
    const first = this.#init
      .overlays()
      .flatMap((name) => overlays.find((list) => list.name === name) ?? [])[0];
    const found = network === undefined ? first : lists.find((list) => list.name === network);
    if (found !== undefined) return found;
    const names = overlays.map((list) => list.name).join(', ');
    throw new PortolanError('not-found', `Cannot find the network "${network ?? '(first)'}" on this host`, {
      field: 'network',
      remedy: names === '' ? 'wait until the agent has its blocks' : `choose one of ${names}`,
    });
  }

  /** Notes in the record what each ADD gave, and saves that before the next. */
  async attach(
    record: ContainerRecord,
    interfaces: readonly ContainerInterface[],
    save: () => Promise<void>,
  ): Promise<void> {
    for (const each of interfaces) {
      const attachment = attachmentOf(record, each);
      const result = await cniAdd(each.conflist as Conflist, attachment, this.#init.cni);
      each.result = result as ContainerInterface['result'];
      each.addresses = result.ips.map((ip) => ip.address);
      await save();
    }
  }

  /** Interfaces that the host has forgotten, by configurations as of now: the files may have been written anew. */
  async attachAgain(
    record: ContainerRecord,
    lost: readonly ContainerInterface[],
    save: () => Promise<void>,
  ): Promise<void> {
    for (const each of lost) {
      delete each.result;
      each.addresses = [];
    }
    await save();
    for (const each of lost) {
      each.conflist = (await this.#conflist(each.network)) as ContainerInterface['conflist'];
      await this.attach(record, [each], save);
    }
  }

  /** DEL is idempotent, so it also follows an ADD that nobody saw the end of. */
  async detach(record: ContainerRecord): Promise<void> {
    for (const each of record.interfaces.toReversed()) {
      const attachment = attachmentOf(record, each);
      await cniDelete(each.conflist as Conflist, attachment, each.result, this.#init.cni);
      delete each.result;
      each.addresses = [];
    }
  }
}

function attachmentOf(record: ContainerRecord, each: ContainerInterface): Attachment {
  const { netns = '', labels } = record;
  const { ports, ifname } = each;
  return { containerId: record.id, containerName: record.name, netns, ifname, ports, labels };
}

/** Of all its interfaces, with prefix length. */
export function addressesOf(record: ContainerRecord): readonly string[] {
  return record.interfaces.flatMap((each) => each.addresses);
}

/** Without prefix length. */
export function bareAddresses(record: ContainerRecord): readonly string[] {
  return addressesOf(record).map((text) => String(parseInterfaceAddress(text)?.address ?? text));
}
