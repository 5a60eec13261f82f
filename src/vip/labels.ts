/**
 * `VIP_n` labels: which virtual addresses a port has (reference "VIPs and DNS", section 2).
 *
 * A label that cannot be read is reported and skipped; the others of the same port hold.
 */
import { parseIp, type IpAddress } from '../base/ip.ts';
import { fragment } from '../model/dns-name.ts';
import { isVipKey, parseVipPort, vipAffinityKey, vipPortKey } from '../model/task-view.ts';

/** A VIP as a label's value asks for it; its protocol is the port's. */
export type VipName =
  | {
      readonly kind: 'named';
      /** As in DNS, before the framework: `myservice`. */ readonly host: string;
      readonly port: number;
    }
  | { readonly kind: 'ip'; readonly address: IpAddress; readonly port: number };

export type VipLabel = VipName & {
  /** The label's key, for issues. */
  readonly label: string;
  /** `VIP_n_AFFINITY=client`: all connections of one client address go to one backend. */
  readonly affinity: 'none' | 'client';
};

export interface LabelIssue {
  readonly label: string;
  readonly value: string;
  readonly problem: string;
}

const MAX_PORT = 65_535;

/** Reads all labels of one port whose key begins with `VIP`, in any case. Each VIP once, in order of the keys. */
export function vipLabels(labels: Readonly<Record<string, string>>): {
  readonly vips: readonly VipLabel[];
  readonly issues: readonly LabelIssue[];
} {
  const vips = new Map<string, VipLabel>();
  const issues: LabelIssue[] = [];
  for (const key of vipKeys(labels)) {
    const value = labels[key] ?? '';
    const vip = parseVipLabel(value);
    const affinityKey = vipAffinityKey(key, labels);
    const affinity = parseAffinity(labels[affinityKey]);
    const portKey = vipPortKey(key, labels);
    if (labels[portKey] !== undefined && parseVipPort(labels[portKey]) === undefined)
      issues.push({
        label: portKey,
        value: labels[portKey],
        problem: 'is no port: write 8080, 8080/tcp or 53/udp',
      });
    else if (affinity === undefined)
      issues.push({
        label: affinityKey,
        value: labels[affinityKey] ?? '',
        problem: 'is no kind of affinity: write "client" or "none"',
      });
    else if (typeof vip === 'string') issues.push({ label: key, value, problem: vip });
    else vips.set(formatVipLabel(vip), { ...vip, label: key, affinity });
  }
  return { vips: Array.from(vips.values()), issues };
}

function parseAffinity(text = 'none'): VipLabel['affinity'] | undefined {
  return text === 'none' || text === 'client' ? text : undefined;
}

/** `VIP_2` before `VIP_10`. */
const numbered = new Intl.Collator('en', { numeric: true });

function vipKeys(labels: Readonly<Record<string, string>>): string[] {
  const keys = Object.keys(labels).filter(isVipKey);
  return keys.length > 1 ? keys.sort((a, b) => numbered.compare(a, b)) : keys;
}

/**
 * `HOST:PORT`, split at the last colon; HOST is an IP literal or a name. `/name` is the same as `name`, since both have
 * the same DNS name. Returns what is wrong with it as text otherwise.
 */
export function parseVipLabel(value: string): VipName | string {
  const colon = value.lastIndexOf(':');
  if (colon < 0) return 'has no port: write NAME:PORT or ADDRESS:PORT';
  const host = value.slice(0, colon);
  const port = parsePort(value.slice(colon + 1));
  if (port === undefined)
    return `"${value.slice(colon + 1)}" is not a port: write a number from 1 to ${MAX_PORT}`;
  const address = parseIp(withoutBrackets(host));
  if (address !== undefined) return { kind: 'ip', address, port };
  const name = fragment(host);
  if (name === '') return `"${host}" leaves nothing for a DNS name: use letters and digits`;
  return { kind: 'named', host: name, port };
}

/** Equal texts: the same VIP. */
export function formatVipLabel(vip: VipName): string {
  if (vip.kind === 'named') return `${vip.host}:${vip.port}`;
  return vip.address.family === 6 ? `[${vip.address}]:${vip.port}` : `${vip.address}:${vip.port}`;
}

function parsePort(text: string): number | undefined {
  if (!/^[0-9]{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= MAX_PORT ? port : undefined;
}

function withoutBrackets(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}
