/**
 * The configuration that a runtime streams to the plug-in, decoded and checked.
 *
 * Undecodable text is code 6, a wrong value 7, a key we know we cannot honour 2 (with key and value in the message), a
 * version we do not speak 1. `args` is the exception: what is not understood there is ignored, as the specification asks.
 */
import { z } from 'zod';
import { parseInterfaceAddress, parseIp, parsePrefix, type IpAddress, type Prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import { describeIssue } from '../model/config-issue.ts';
import { portMapping, type PortMapping } from '../model/endpoint.ts';
import { CniError, cniCodes } from './errors.ts';
import { dnsConfig, parseResult, type CniDns, type CniResult } from './result.ts';
import { isSupportedVersion, SUPPORTED_VERSIONS, type CniVersion } from './versions.ts';

/** Name of the executable, and `type` of the configuration. */
export const PLUGIN_TYPE = 'portolan-cni';
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

export interface ExtraRoute {
  readonly destination: Prefix;
  readonly gateway: IpAddress | undefined;
}

export interface AttachmentName {
  readonly container: string;
  readonly ifname: string;
}

export interface PluginConfig {
  readonly version: CniVersion;
  readonly name: string;
  /** Upper bound for the interface's MTU; absent = the network's. */
  readonly mtu: number | undefined;
  readonly routes: readonly ExtraRoute[];
  readonly dns: CniDns;
  readonly ports: readonly PortMapping[];
  /** Addresses asked for, by the `ips` capability, else `args.cni.ips`, else Mesos. */
  readonly addresses: readonly IpAddress[];
  readonly mac: Mac | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly networkInfo: unknown;
  /** Whose garbage this is: GC touches only attachments of the same owner. */
  readonly owner: string;
  readonly prevResult: CniResult | undefined;
  /** `cni.dev/valid-attachments`, of GC. */
  readonly validAttachments: readonly AttachmentName[] | undefined;
}

const text = z.string();
const label = z.looseObject({ key: text, value: text.default('') });
const labels = z.union([z.array(label), z.record(text, text)], {
  error: 'write {"KEY": "TEXT"} or [{"key": "KEY", "value": "TEXT"}]',
});
const mesosPort = z.looseObject({
  host_port: z.int().min(1).max(65_535),
  container_port: z.int().min(1).max(65_535),
  protocol: text.default('tcp'),
});
const networkInfo = z.looseObject({
  labels: z.looseObject({ labels: labels.optional() }).optional(),
  ip_addresses: z.array(z.looseObject({ ip_address: text.optional() })).optional(),
  port_mappings: z.array(mesosPort).optional(),
});
const args = z.looseObject({
  cni: z.looseObject({ labels: labels.optional(), ips: z.array(text).optional() }).optional(),
  portolan: z.looseObject({ owner: text.optional() }).optional(),
  'org.apache.mesos': z.looseObject({ network_info: networkInfo.optional() }).optional(),
});
/** Runtimes write the protocol in either case, and empty members for absent ones. */
const runtimePort = z.preprocess((value) => {
  if (typeof value !== 'object' || value === null) return value;
  const { hostPort, containerPort, protocol, hostIP } = value as Record<string, unknown>;
  return {
    hostPort,
    containerPort,
    ...(typeof protocol === 'string' && protocol !== '' ? { protocol: protocol.toLowerCase() } : {}),
    ...(typeof hostIP === 'string' && !anyAddress.has(hostIP) ? { hostIP } : {}),
  };
}, portMapping);
/** Runtimes write these for "on every address of the host". */
const anyAddress = new Set(['', '0.0.0.0', '::']);

const attachmentList = z.array(z.looseObject({ containerID: text, ifname: text })).nullish();

const pluginConfig = z.looseObject({
  name: text.regex(NAME_PATTERN, 'must match [A-Za-z0-9][A-Za-z0-9_.-]*'),
  type: text.optional(),
  mtu: z.int().min(68).max(65_535).optional(),
  routes: z.array(z.looseObject({ dst: text, gw: text.optional() })).nullish(),
  dns: dnsConfig.nullish(),
  args: args.nullish(),
  runtimeConfig: z
    .looseObject({
      portMappings: z.array(runtimePort).nullish(),
      ips: z.array(text).nullish(),
      mac: text.optional(),
    })
    .nullish(),
  'cni.dev/valid-attachments': attachmentList,
  'cni.dev/attachments': attachmentList,
});

const knownKeys = new Set([
  'cniVersion',
  'name',
  'type',
  'mtu',
  'routes',
  'dns',
  'args',
  'capabilities',
  'runtimeConfig',
  'prevResult',
  'ipMasq',
]);
const knownCapabilities = new Set(['portMappings', 'ips', 'mac']);

const invalid = (message: string, details?: string): CniError =>
  new CniError(cniCodes.invalidConfig, message, details);

/** The `cniVersion` that errors are answered in: the one asked with, even where all else is unreadable. */
export function askedVersion(stdin: string): string {
  return /"cniVersion"\s*:\s*"([0-9A-Za-z.+-]{1,32})"/.exec(stdin)?.[1] ?? '0.1.0';
}

/** The same text comes with every container of a network, and the runtime waits while it is read. */
let latest: { readonly stdin: string; readonly config: PluginConfig } | undefined;

export function parseConfig(stdin: string): PluginConfig {
  if (latest?.stdin === stdin) return latest.config;
  const config = readConfig(stdin);
  latest = { stdin, config };
  return config;
}

function readConfig(stdin: string): PluginConfig {
  const decoded = decode(stdin);
  const version = negotiated(decoded['cniVersion']);
  refuseUnsupported(decoded);
  return compose(version, checked(decoded), decoded['prevResult']);
}

function checked(decoded: unknown): z.infer<typeof pluginConfig> {
  const parsed = pluginConfig.safeParse(decoded, { reportInput: true });
  if (parsed.success) return parsed.data;
  const { problem, remedy } = describeIssue(pluginConfig, parsed.error.issues[0]);
  throw invalid(`Read the network configuration: ${problem}`, remedy);
}

/**
 * What DEL needs of it. The rest may be malformed or not supported: the ADD before it was refused for that, and a
 * runtime that cannot delete what it could not add has no way out.
 */
export function parseConfigOfDel(stdin: string): PluginConfig {
  const { cniVersion, name } = decode(stdin);
  return compose(negotiated(cniVersion), checked({ name }), undefined);
}

function decode(stdin: string): Record<string, unknown> {
  let decoded: unknown;
  try {
    decoded = JSON.parse(stdin);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CniError(cniCodes.decodingFailure, `Decode the network configuration: ${why}`);
  }
  if (typeof decoded !== 'object' || decoded === null || Array.isArray(decoded))
    throw new CniError(cniCodes.decodingFailure, 'Decode the network configuration: it is no JSON object');
  return decoded as Record<string, unknown>;
}

/** An absent version means 0.1.0, as the runtimes' own library reads it. */
function negotiated(value: unknown): CniVersion {
  if (value === undefined || value === '') return '0.1.0';
  if (typeof value !== 'string') throw invalid('Read the network configuration: "cniVersion" is no text');
  if (isSupportedVersion(value)) return value;
  throw new CniError(
    cniCodes.incompatibleVersion,
    `CNI version "${value}" is not supported`,
    `supported are ${SUPPORTED_VERSIONS.join(', ')}`,
  );
}

function refuseUnsupported(decoded: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(decoded))
    if (!knownKeys.has(key) && !key.startsWith('cni.dev/')) throw unsupported(key, value);
  if (decoded['ipMasq'] === false) throw unsupported('ipMasq', false);
  const runtimeConfig = decoded['runtimeConfig'];
  if (typeof runtimeConfig !== 'object' || runtimeConfig === null) return;
  for (const [key, value] of Object.entries(runtimeConfig))
    if (!knownCapabilities.has(key)) throw unsupported(`runtimeConfig.${key}`, value);
}

function unsupported(key: string, value: unknown): CniError {
  return new CniError(
    cniCodes.unsupportedField,
    `Field "${key}" with value ${JSON.stringify(value)} is not supported`,
    `the agent configures overlay networks itself: remove "${key}" from the configuration`,
  );
}

function compose(
  version: CniVersion,
  config: z.infer<typeof pluginConfig>,
  prevResult: unknown,
): PluginConfig {
  const mesos = config.args?.['org.apache.mesos']?.network_info;
  // The key of the first edition of 1.1.0 was "cni.dev/attachments"; libcni sends both.
  const valid = listOrNone(config['cni.dev/valid-attachments']) ?? listOrNone(config['cni.dev/attachments']);
  return {
    version,
    name: config.name,
    mtu: config.mtu,
    routes: (config.routes ?? []).map((route) => parseRoute(route)),
    dns: config.dns ?? {},
    ports: portsOf(config.runtimeConfig?.portMappings ?? [], mesos?.port_mappings ?? []),
    addresses: requestedAddresses(config),
    mac: config.runtimeConfig?.mac === undefined ? undefined : macOf(config.runtimeConfig.mac),
    labels: { ...labelsOf(mesos?.labels?.labels), ...labelsOf(config.args?.cni?.labels) },
    networkInfo: mesos,
    owner: config.args?.portolan?.owner ?? '',
    prevResult:
      prevResult === undefined || prevResult === null ? undefined : parseResult(prevResult, version),
    validAttachments: valid?.map((entry) => ({ container: entry.containerID, ifname: entry.ifname })),
  };
}

/** Null is how Go writes an empty list; only a key that is not there says nothing. */
function listOrNone<T>(given: readonly T[] | null | undefined): readonly T[] | undefined {
  return given === null ? [] : given;
}

function parseRoute(route: { dst: string; gw?: string | undefined }): ExtraRoute {
  const destination = parsePrefix(route.dst);
  const gateway = route.gw === undefined ? undefined : parseIp(route.gw);
  if (destination === undefined) throw invalid(`Route to "${route.dst}": not a network such as 10.0.0.0/8`);
  if (route.gw !== undefined && gateway?.family !== destination.family)
    throw invalid(`Route to "${route.dst}": gateway "${route.gw}" is not an address of its family`);
  return { destination, gateway };
}

/** Both sources together: the capability of the specification, and what Mesos hands over. */
function portsOf(
  capability: readonly PortMapping[],
  mesos: readonly z.infer<typeof mesosPort>[],
): readonly PortMapping[] {
  const fromMesos = mesos.map((mapping) => ({
    hostPort: mapping.host_port,
    containerPort: mapping.container_port,
    protocol: mapping.protocol.toLowerCase(),
  }));
  const parsed = z.array(portMapping).safeParse(fromMesos);
  if (!parsed.success)
    throw invalid(`Read network_info.port_mappings: ${parsed.error.issues[0]?.message ?? 'malformed'}`);
  return [...capability, ...parsed.data];
}

function requestedAddresses(config: z.infer<typeof pluginConfig>): readonly IpAddress[] {
  const mesos = config.args?.['org.apache.mesos']?.network_info?.ip_addresses ?? [];
  const sources: readonly (readonly [string, readonly string[]])[] = [
    ['runtimeConfig.ips', config.runtimeConfig?.ips ?? []],
    ['args.cni.ips', config.args?.cni?.ips ?? []],
    ['network_info.ip_addresses', mesos.flatMap((entry) => entry.ip_address ?? [])],
  ];
  const [name, wanted] = sources.find(([, list]) => list.length > 0) ?? ['', []];
  return wanted.map((address) => requestedAddress(name, address));
}

/** An address as runtimes write it: bare, or with a prefix length, which says nothing here. */
export function requestedAddress(source: string, address: string): IpAddress {
  const parsed = parseIp(address) ?? parseInterfaceAddress(address)?.address;
  if (parsed === undefined)
    throw invalid(`Requested address "${address}" in ${source} is not an IPv4 or IPv6 address`);
  return parsed;
}

export function macOf(value: string): Mac {
  const mac = parseMac(value);
  if (mac === undefined) throw invalid(`Requested MAC "${value}" is not six hexadecimal bytes`);
  return mac;
}

function labelsOf(given: z.infer<typeof labels> | undefined): Record<string, string> {
  if (given === undefined) return {};
  return Array.isArray(given)
    ? Object.fromEntries(given.map((entry) => [entry.key, entry.value]))
    : { ...given };
}
