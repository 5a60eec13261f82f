/**
 * The kernel work of one attachment: a veth pair between the network's bridge and the container, and all inside.
 *
 * Two sends make it: one in the host's namespace (the pair; its far end is born inside the container under its final
 * name), one in the container's. Deleting the host's end takes the other with it, and with it every address and route.
 */
import { ip, Prefix, prefix, type IpAddress } from '../base/ip.ts';
import { parseMac } from '../base/mac.ts';
import { CniError, cniCodes } from '../cni/errors.ts';
import {
  isErrno,
  TABLE_MAIN,
  type ApplyOptions,
  type Kernel,
  type KernelError,
  type KernelOperation,
  type NetworkNamespace,
  type Route,
} from '../kernel/types.ts';
import { attachmentAlias } from '../overlay/marks.ts';
import { addressesOf, type AttachmentRecord } from './attachments-record.ts';

/** `rtm_protocol` of routes inside containers: as if their administrator had set them (RTPROT_STATIC). */
const PROTOCOL_STATIC = 4;

/**
 * Makes the pair. The name of the host's end is ours alone, so a leftover of that name is removed first; a bridge that
 * somebody deleted is waited for once.
 */
export async function wireHost(
  kernel: Kernel,
  record: AttachmentRecord,
  prepare: () => Promise<void>,
  how?: ApplyOptions,
): Promise<void> {
  const create = hostOperation(record);
  const failed = await firstFailure(kernel, [create], how);
  if (failed === undefined) return;
  if (isErrno(failed, 'ENODEV')) await prepare();
  else if (isErrno(failed, 'EEXIST')) await removeLeftover(kernel, record);
  else throw wiringError(record, `create its veth pair on "${record.bridge}"`, failed);
  const again = await firstFailure(kernel, [create]);
  if (again !== undefined) throw wiringError(record, `create its veth pair on "${record.bridge}"`, again);
}

async function removeLeftover(kernel: Kernel, record: AttachmentRecord): Promise<void> {
  if ((await kernel.link(record.hostLink)) === undefined)
    throw new CniError(
      cniCodes.invalidEnvironment,
      `CNI_IFNAME "${record.ifname}": the container has an interface of that name`,
      `container "${record.container}", namespace ${record.netns}`,
    );
  await unwire(kernel, record);
}

function hostOperation(record: AttachmentRecord): KernelOperation {
  return {
    do: 'link-add',
    name: record.hostLink,
    link: {
      kind: 'veth',
      peer: { name: record.ifname, mtu: record.mtu, mac: mac(record.mac), namespacePath: record.netns },
    },
    settings: {
      mtu: record.mtu,
      mac: mac(record.hostMac),
      alias: attachmentAlias(record.container, record.ifname),
      master: record.bridge,
      // A bridge port needs no address; the reports of one would wake every container on the bridge.
      ipv6LinkLocal: false,
      // A container that calls its own mapped port is answered through the port it came from when br_netfilter runs.
      hairpin: true,
      up: true,
    },
  };
}

/** Everything inside the container, in one send. */
export async function wireContainer(
  inside: NetworkNamespace,
  record: AttachmentRecord,
  how?: ApplyOptions,
): Promise<void> {
  // Runtimes may switch IPv6 off in new namespaces (sysctl net.ipv6.conf.default.disable_ipv6).
  if (addressesOf(record).some(({ address }) => address.family === 6))
    await inside.writeSysctl(`net/ipv6/conf/${record.ifname}/disable_ipv6`, '0');
  const failed = await firstFailure(inside, containerOperations(record), how);
  if (failed !== undefined) throw wiringError(record, 'configure its interface', failed);
}

export function containerOperations(record: AttachmentRecord): readonly KernelOperation[] {
  return [
    { do: 'link-set', name: 'lo', settings: { up: true } },
    ...addressesOf(record).map((address): KernelOperation => {
      return { do: 'address-replace', address: { link: record.ifname, address } };
    }),
    ...(isIpv4Only(record) ? [noLinkLocal(record.ifname)] : []),
    { do: 'link-set', name: record.ifname, settings: { up: true } },
    ...containerRoutes(record).map((route): KernelOperation => ({ do: 'route-replace', route })),
  ];
}

function isIpv4Only(record: AttachmentRecord): boolean {
  return addressesOf(record).every(({ address }) => address.family === 4);
}

/** As Docker does on networks without IPv6: what a container has is what the overlay gave it. */
function noLinkLocal(name: string): KernelOperation {
  return { do: 'link-set', name, settings: { ipv6LinkLocal: false } };
}

/** A default route through each gateway, one to the overlay, and what is asked for. */
export function containerRoutes(record: AttachmentRecord): readonly Route[] {
  const defaults = record.gateways.map((text) =>
    route(record, everything(ip(text)), ip(text), record.metric),
  );
  const extra = record.routes.map(({ destination, gateway }) =>
    route(record, prefix(destination), ip(gateway), 0),
  );
  return [...defaults, ...spaceRoutes(record), ...extra];
}

/**
 * What goes to the overlay leaves by the overlay whichever network's default is in force: one that is attached later may put
 * its own before ours, as the reference `bridge` does. Elsewhere packets of this address meet filters that do not know it.
 */
function spaceRoutes(record: AttachmentRecord): readonly Route[] {
  return record.spaces.map(prefix).flatMap((space) => {
    const gateway = record.gateways.map(ip).find(({ family }) => family === space.family);
    return gateway === undefined ? [] : [route(record, space, gateway, 0)];
  });
}

function route(record: AttachmentRecord, destination: Prefix, gateway: IpAddress, metric: number): Route {
  return {
    destination,
    table: TABLE_MAIN,
    protocol: PROTOCOL_STATIC,
    metric,
    gateway,
    link: record.ifname,
    onlink: false,
  };
}

function everything(gateway: IpAddress): Prefix {
  return new Prefix(gateway, 0);
}

/**
 * The metric for default routes: 0 unless the container has one through another network already, which stays the
 * preferred one.
 */
export async function defaultMetric(inside: NetworkNamespace): Promise<number> {
  const metrics = (await inside.defaultRoutes()).map(({ metric }) => metric);
  // The kernel gives IPv6 routes of metric 0 the metric 1024 (IP6_RT_PRIO_USER).
  return metrics.length === 0 ? 0 : Math.max(...metrics) + 100;
}

/** Removes the host's end, and the other with it. Nothing there is no failure. */
export async function unwire(kernel: Kernel, record: AttachmentRecord): Promise<void> {
  const failed = await removePair(kernel, record.hostLink);
  if (failed !== undefined) throw wiringError(record, `delete "${record.hostLink}"`, failed);
}

/** By the name of the host's end. `undefined` = it is gone. */
export async function removePair(kernel: Kernel, hostLink: string): Promise<KernelError | undefined> {
  const failed = await firstFailure(kernel, [{ do: 'link-delete', name: hostLink }]);
  return failed !== undefined && isErrno(failed, 'ENODEV') ? undefined : failed;
}

async function firstFailure(
  namespace: NetworkNamespace,
  operations: readonly KernelOperation[],
  how?: ApplyOptions,
): Promise<KernelError | undefined> {
  return (await namespace.apply(operations, how))[0]?.error;
}

function wiringError(record: AttachmentRecord, action: string, error: KernelError): CniError {
  return new CniError(
    cniCodes.ioFailure,
    `Cannot ${action} for container "${record.container}": ${error.message}`,
  );
}

function mac(text: string): NonNullable<ReturnType<typeof parseMac>> {
  const parsed = parseMac(text);
  if (parsed === undefined) throw new CniError(cniCodes.internal, `Stored MAC "${text}" is malformed`);
  return parsed;
}

/** What of the attachment is not in the kernel as it should be, in words; empty = all is well. */
export async function findFaults(
  kernel: Kernel,
  inside: NetworkNamespace,
  record: AttachmentRecord,
): Promise<readonly string[]> {
  return [...(await hostFaults(kernel, record)), ...(await containerFaults(inside, record))];
}

async function hostFaults(kernel: Kernel, record: AttachmentRecord): Promise<readonly string[]> {
  const { bridge } = record;
  const link = await kernel.link(record.hostLink);
  if (link === undefined) return [`the host's interface "${record.hostLink}" is missing`];
  const faults: string[] = [];
  if (!link.up) faults.push(`the host's interface "${link.name}" is down`);
  if (link.master !== bridge) faults.push(`the host's interface "${link.name}" is not on bridge "${bridge}"`);
  const over = await kernel.link(bridge);
  if (over === undefined) faults.push(`bridge "${bridge}" is missing`);
  else if (!over.up) faults.push(`bridge "${bridge}" is down`);
  return faults;
}

async function containerFaults(
  inside: NetworkNamespace,
  record: AttachmentRecord,
): Promise<readonly string[]> {
  const link = await inside.link(record.ifname);
  if (link === undefined) return [`interface "${record.ifname}" is missing`];
  const faults: string[] = [];
  if (!link.up) faults.push(`interface "${link.name}" is down`);
  if (link.mtu !== record.mtu) faults.push(`interface "${link.name}" has MTU ${link.mtu}, not ${record.mtu}`);
  if (link.mac !== record.mac)
    faults.push(`interface "${link.name}" has MAC ${link.mac ?? 'none'}, not ${record.mac}`);
  const present = new Set(
    (await inside.addresses({ link: link.name })).map(({ address }) => String(address)),
  );
  for (const address of record.addresses)
    if (!present.has(address)) faults.push(`address ${address} of "${link.name}" is missing`);
  return faults;
}

/** Destinations among `expected` ("0.0.0.0/0") that no route through the interface and its gateway covers. */
export async function missingRoutes(
  inside: NetworkNamespace,
  record: AttachmentRecord,
  expected: readonly string[],
): Promise<readonly string[]> {
  const present = await inside.routes({ table: TABLE_MAIN });
  return containerRoutes(record)
    .filter(({ destination }) => expected.includes(String(destination)))
    .filter(
      (wanted) =>
        !present.some(
          (found) =>
            found.link === record.ifname &&
            found.destination.equals(wanted.destination) &&
            String(found.gateway) === String(wanted.gateway),
        ),
    )
    .map((wanted) => `route to ${wanted.destination} via ${wanted.gateway ?? ''} is missing`);
}
