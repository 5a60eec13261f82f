/**
 * The result of ADD in the form of every version of the specification, and `prevResult` read back from it.
 *
 * 0.1.0 and 0.2.0 know `ip4`, `ip6` and `dns` only; 0.3.0 brought `interfaces`, `ips` (with a `version` in each) and
 * `routes`; 1.0.0 dropped that `version`; 1.1.0 added the interface's `mtu` and attributes of routes.
 */
import { z } from 'zod';
import { parseInterfaceAddress } from '../base/ip.ts';
import { CniError, cniCodes } from './errors.ts';
import { atLeast, type CniVersion } from './versions.ts';

const text = z.string();
const resultInterface = z.looseObject({
  name: text,
  mac: text.optional(),
  mtu: z.int().optional(),
  sandbox: text.optional(),
});
const resultIp = z.looseObject({
  address: text,
  gateway: text.optional(),
  interface: z.int().nonnegative().optional(),
});
const resultRoute = z.looseObject({ dst: text, gw: text.optional() });
export const dnsConfig = z.looseObject({
  nameservers: z.array(text).optional(),
  domain: text.optional(),
  search: z.array(text).optional(),
  options: z.array(text).optional(),
});
export type CniInterface = z.infer<typeof resultInterface>;
export type CniIp = z.infer<typeof resultIp>;
export type CniRoute = z.infer<typeof resultRoute>;
export type CniDns = z.infer<typeof dnsConfig>;

export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniIp[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns;
}

export const emptyResult: CniResult = { interfaces: [], ips: [], routes: [], dns: {} };

/** Null stands for absent, as Go programs write empty lists. */
const listOf = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((list) => list ?? []);

const richResult = z.looseObject({
  interfaces: listOf(resultInterface),
  ips: listOf(resultIp),
  routes: listOf(resultRoute),
  dns: dnsConfig.nullish(),
});
const oldIp = z.looseObject({ ip: text, gateway: text.optional(), routes: listOf(resultRoute) });
const oldResult = z.looseObject({ ip4: oldIp.nullish(), ip6: oldIp.nullish(), dns: dnsConfig.nullish() });

/** Reads a `prevResult` written in `version`. */
export function parseResult(value: unknown, version: CniVersion): CniResult {
  const parsed = (atLeast(version, '0.3.0') ? richResult : oldResult).safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = ['prevResult', ...(issue?.path ?? [])].join('.');
    throw new CniError(cniCodes.invalidConfig, `Read ${where}: ${issue?.message ?? 'malformed'}`);
  }
  return 'ips' in parsed.data ? fromRich(parsed.data as z.infer<typeof richResult>) : fromOld(parsed.data);
}

function fromRich(value: z.infer<typeof richResult>): CniResult {
  const ips = value.ips.map(({ version: _version, ...ip }) => ip as CniIp);
  return { interfaces: value.interfaces, ips, routes: value.routes, dns: value.dns ?? {} };
}

function fromOld(value: z.infer<typeof oldResult>): CniResult {
  const given = [value.ip4, value.ip6].filter((ip) => ip !== undefined && ip !== null);
  return {
    interfaces: [],
    ips: given.map(({ ip, gateway }) => ({ address: ip, ...(gateway === undefined ? {} : { gateway }) })),
    routes: given.flatMap((ip) => ip.routes),
    dns: value.dns ?? {},
  };
}

/** The result for standard output, in the form of `version`. */
export function encodeResult(result: CniResult, version: CniVersion): string {
  const body = atLeast(version, '0.3.0') ? richForm(result, version) : oldForm(result);
  return JSON.stringify({ cniVersion: version, ...body });
}

function richForm(result: CniResult, version: CniVersion): Record<string, unknown> {
  const withMtu = atLeast(version, '1.1.0');
  const withFamily = !atLeast(version, '1.0.0');
  return {
    interfaces: result.interfaces.map(({ mtu, ...rest }) =>
      withMtu && mtu !== undefined ? { ...rest, mtu } : rest,
    ),
    ips: result.ips.map((ip) => (withFamily ? { version: familyOf(ip.address), ...ip } : ip)),
    routes: withMtu ? result.routes : result.routes.map(plainRoute),
    dns: result.dns,
  };
}

function oldForm(result: CniResult): Record<string, unknown> {
  const entry = (family: '4' | '6'): Record<string, unknown> | undefined => {
    const ip = result.ips.find((candidate) => familyOf(candidate.address) === family);
    if (ip === undefined) return undefined;
    const routes = result.routes.filter((route) => familyOf(route.dst) === family).map(plainRoute);
    return { ip: ip.address, ...(ip.gateway === undefined ? {} : { gateway: ip.gateway }), routes };
  };
  const ip4 = entry('4');
  const ip6 = entry('6');
  return { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }), dns: result.dns };
}

/** Before 1.1.0 a route has only `dst` and `gw`. */
function plainRoute(route: CniRoute): CniRoute {
  return { dst: route.dst, ...(route.gw === undefined ? {} : { gw: route.gw }) };
}

function familyOf(address: string): '4' | '6' {
  return parseInterfaceAddress(address)?.address.family === 6 ? '6' : '4';
}

/** What a plug-in earlier in the chain made, followed by ours; our indexes move behind its interfaces. */
export function appendResult(previous: CniResult, ours: CniResult): CniResult {
  const shift = previous.interfaces.length;
  const ips = ours.ips.map((ip) =>
    ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift },
  );
  return {
    interfaces: [...previous.interfaces, ...ours.interfaces],
    ips: [...previous.ips, ...ips],
    routes: [...previous.routes, ...ours.routes],
    dns: Object.keys(ours.dns).length > 0 ? ours.dns : previous.dns,
  };
}
