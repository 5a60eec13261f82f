/**
 * From a request to the record of an attachment, and from the record to the result and to what CHECK compares.
 *
 * Pure: what is claimed and what is made of it is the service's (attachments.ts).
 */
import { assert } from '../base/assert.ts';
import { parseIp } from '../base/ip.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import type { CniRequest } from '../cni/request.ts';
import type { CniResult } from '../cni/result.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { Allocated } from './attachments-addresses.ts';
import { mtuFor } from './attachments-mtu.ts';
import type { NetworkView } from './attachments-network.ts';
import { hostLinkName, macOfAddress, type AttachmentRecord } from './attachments-record.ts';
import { containerRoutes } from './attachments-wiring.ts';

export interface PlanInput {
  readonly view: NetworkView;
  /** Of the container's namespace. */
  readonly inode: number;
  readonly allocated: readonly Allocated[];
}

export function planAttachment(request: CniRequest, input: PlanInput): AttachmentRecord {
  const { container, ifname, netns, containerName, config } = request;
  const { view, inode, allocated } = input;
  refuseForeignHostIp(request, allocated);
  const first = allocated[0]?.address.address;
  assert(first !== undefined, 'a network with a subnet');
  const networkInfo = config.networkInfo as Endpoint['network_info'];
  return {
    container,
    ifname,
    network: config.name,
    state: 'pending',
    hostLink: hostLinkName(container, ifname),
    bridge: view.bridge,
    netns,
    inode,
    addresses: allocated.map(({ address }) => address.toString()),
    gateways: allocated.map(({ gateway }) => gateway.toString()),
    mac: config.mac ?? macOfAddress(first, 'container'),
    hostMac: macOfAddress(first, 'host'),
    mtu: mtuFor(config.mtu, view),
    ...(config.mtu === undefined ? {} : { mtuLimit: config.mtu }),
    metric: 0,
    spaces: view.subnets.flatMap(({ space }) => space?.toString() ?? []),
    routes: extraRoutes(request, allocated),
    ports: [...config.ports],
    labels: config.labels,
    ...(containerName === undefined ? {} : { name: containerName }),
    ...(networkInfo === undefined ? {} : { network_info: networkInfo }),
    owner: config.owner,
  };
}

export function resultOf(record: AttachmentRecord, view: NetworkView, dns: CniResult['dns']): CniResult {
  return {
    interfaces: [
      { name: record.bridge, mac: view.bridgeMac },
      { name: record.hostLink, mac: record.hostMac, mtu: record.mtu },
      { name: record.ifname, mac: record.mac, mtu: record.mtu, sandbox: record.netns },
    ],
    ips: record.addresses.map((address, i) => {
      const gateway = record.gateways[i];
      return { address, ...(gateway === undefined ? {} : { gateway }), interface: 2 };
    }),
    routes: containerRoutes(record).map(({ destination, gateway }) => {
      return { dst: destination.toString(), ...(gateway === undefined ? {} : { gw: gateway.toString() }) };
    }),
    dns,
  };
}

/** A route without gateway goes through the network's own of that family. */
function extraRoutes(request: CniRequest, allocated: readonly Allocated[]): AttachmentRecord['routes'] {
  return request.config.routes.map(({ destination, gateway }) => {
    const own = allocated.find((one) => one.gateway.family === destination.family)?.gateway;
    const via = gateway ?? own;
    if (via === undefined)
      throw new CniError(cniCodes.invalidConfig, `Route to ${destination}: the network has no such family`);
    return { destination: destination.toString(), gateway: via.toString() };
  });
}

function refuseForeignHostIp(request: CniRequest, allocated: readonly Allocated[]): void {
  for (const { hostIP } of request.config.ports) {
    const family = hostIP === undefined ? undefined : parseIp(hostIP)?.family;
    if (family !== undefined && !allocated.some(({ address }) => address.address.family === family))
      throw new CniError(
        cniCodes.invalidConfig,
        `hostIP "${hostIP}" of a port mapping: the container has no IPv${family} address to map it to`,
      );
  }
}

/** Where `prevResult` says otherwise than we know; CHECK must come with one. */
export function disagreements(record: AttachmentRecord, request: CniRequest): string[] {
  const previous = request.config.prevResult;
  if (previous === undefined) throw new CniError(cniCodes.invalidConfig, 'CHECK needs "prevResult"');
  const faults: string[] = [];
  const listed = new Set(previous.ips.map(({ address }) => address));
  for (const address of record.addresses)
    if (!listed.has(address)) faults.push(`prevResult lacks address ${address}`);
  const named = previous.interfaces.find(
    ({ name, sandbox }) => name === record.ifname && sandbox !== undefined && sandbox !== '',
  );
  if (named === undefined) faults.push(`prevResult lacks interface "${record.ifname}"`);
  else if (named.mac !== undefined && named.mac.toLowerCase() !== record.mac)
    faults.push(`prevResult has MAC ${named.mac} for "${record.ifname}", not ${record.mac}`);
  return faults;
}
