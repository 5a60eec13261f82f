/** A native container's place on its overlay: found, taken and given back by CNI, as any runtime would. */
import { PortolanError } from '../base/errors.ts';
import { parseInterfaceAddress } from '../base/ip.ts';
import { PLUGIN_TYPE } from '../cni/config.ts';
import {
  cniAdd,
  cniDelete,
  readConflists,
  type Attachment,
  type CniRuntimeInit,
  type Conflist,
} from '../runtime/cni-runtime.ts';
import type { ContainerRecord } from './container-record.ts';

/** Of the one interface that a native container has. */
export const IFNAME = 'eth0';

export interface ContainerNetworkInit {
  readonly cniDir: string;
  readonly cni: CniRuntimeInit;
  /** Those of this host, in the order of the cluster's configuration. */
  overlays(): readonly string[];
}

export class ContainerNetwork {
  readonly #init: ContainerNetworkInit;

  constructor(init: ContainerNetworkInit) {
    this.#init = init;
  }

  /** The configuration of a network; without a name that of the first overlay. */
  async conflist(network: string | undefined): Promise<Conflist> {
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

  /** Notes in the record what ADD gave; writing it down is the caller's. */
  async attach(record: ContainerRecord): Promise<void> {
    const result = await cniAdd(record.conflist as Conflist, attachmentOf(record), this.#init.cni);
    record.result = result as ContainerRecord['result'];
    record.addresses = result.ips.map((ip) => ip.address);
  }

  /** DEL is idempotent, so it also follows an ADD that nobody saw the end of. */
  async detach(record: ContainerRecord): Promise<void> {
    await cniDelete(record.conflist as Conflist, attachmentOf(record), record.result, this.#init.cni);
    delete record.result;
    record.addresses = [];
  }
}

function attachmentOf(record: ContainerRecord): Attachment {
  const { netns, request } = record;
  const { ports, labels } = request;
  return { containerId: record.id, containerName: record.name, netns, ifname: IFNAME, ports, labels };
}

/** Without prefix length. */
export function bareAddresses(record: ContainerRecord): readonly string[] {
  return record.addresses.map((text) => String(parseInterfaceAddress(text)?.address ?? text));
}
