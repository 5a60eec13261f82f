/** Operations and objects in iproute2's words: for error messages, logs and events. */
import { unreachable } from '../base/assert.ts';
import type {
  Address,
  FdbEntry,
  KernelOperation,
  Link,
  LinkSettings,
  Neighbour,
  NewLink,
  Route,
  Rule,
} from './types.ts';

/** The command that would do the same. */
export function describeOperation(operation: KernelOperation): string {
  switch (operation.do) {
    case 'link-add':
      return words(
        'ip link add',
        operation.name,
        settingWords(operation.settings),
        kindWords(operation.link),
      );
    case 'link-set':
      return words('ip link set', operation.name, settingWords(operation.settings));
    case 'link-move':
      return `ip link set ${operation.name} netns ${operation.namespacePath}`;
    case 'link-delete':
      return `ip link del ${operation.name}`;
    case 'address-replace':
      return `ip address replace ${describeAddress(operation.address)}`;
    case 'address-delete':
      return `ip address del ${describeAddress(operation.address)}`;
    case 'route-replace':
      return `ip route replace ${describeRoute(operation.route)}`;
    case 'route-delete':
      return `ip route del ${describeRoute(operation.route)}`;
    case 'rule-add':
      return `ip rule add ${describeRule(operation.rule)}`;
    case 'rule-delete':
      return `ip rule del ${describeRule(operation.rule)}`;
    case 'neighbour-replace':
      return `ip neigh replace ${describeNeighbour(operation.neighbour)}`;
    case 'neighbour-delete':
      return `ip neigh del ${describeNeighbour(operation.neighbour)}`;
    case 'fdb-replace':
      return `bridge fdb replace ${describeFdb(operation.entry)}`;
    case 'fdb-delete':
      return `bridge fdb del ${describeFdb(operation.entry)}`;
    default:
      return unreachable(operation);
  }
}

export function describeLink(link: Pick<Link, 'name' | 'up' | 'mtu' | 'mac' | 'master'>): string {
  return words(
    link.name,
    `mtu ${link.mtu} state ${link.up ? 'UP' : 'DOWN'}`,
    option('master', link.master),
    option('address', link.mac),
  );
}

export function describeAddress(address: Address): string {
  return `${String(address.address)} dev ${address.link}`;
}

export function describeRoute(route: Route): string {
  return words(
    route.destination.length === 0 ? 'default' : String(route.destination),
    option('via', route.gateway),
    option('dev', route.link),
    route.table === 254 ? '' : `table ${route.table}`,
    `proto ${route.protocol}`,
    route.metric === 0 ? '' : `metric ${route.metric}`,
    route.onlink ? 'onlink' : '',
  );
}

export function describeRule(rule: Rule): string {
  return words(
    `priority ${rule.priority}`,
    `from ${rule.from === undefined ? 'all' : String(rule.from)}`,
    option('to', rule.to),
    `lookup ${rule.table} proto ${rule.protocol}`,
    rule.family === 6 ? '(IPv6)' : '',
  );
}

export function describeNeighbour(neighbour: Neighbour): string {
  return words(
    `${String(neighbour.address)} dev ${neighbour.link}`,
    option('lladdr', neighbour.mac),
    neighbour.permanent ? 'PERMANENT' : '',
  );
}

export function describeFdb(entry: FdbEntry): string {
  return words(
    `${entry.mac} dev ${entry.link} dst ${String(entry.destination)} self`,
    entry.permanent ? 'permanent' : '',
  );
}

function settingWords(settings: LinkSettings): string {
  return words(
    settings.up === undefined ? '' : settings.up ? 'up' : 'down',
    option('mtu', settings.mtu),
    option('address', settings.mac),
    settings.master === null ? 'nomaster' : option('master', settings.master),
    option('group', settings.group),
    option('name', settings.rename),
    settings.alias === undefined ? '' : `alias "${settings.alias}"`,
    option('altname', settings.addAltName),
    settings.ipv6LinkLocal === undefined ? '' : `addrgenmode ${settings.ipv6LinkLocal ? 'eui64' : 'none'}`,
    settings.hairpin === undefined ? '' : `hairpin ${settings.hairpin ? 'on' : 'off'}`,
  );
}

function kindWords(link: NewLink): string {
  if (link.kind === 'bridge') return 'type bridge';
  if (link.kind === 'veth')
    return words('type veth peer name', link.peer.name, option('netns', link.peer.namespacePath));
  const learning = link.learning ? 'learning' : 'nolearning';
  return `type vxlan id ${link.vni} local ${String(link.local)} dstport ${link.port} ${learning}`;
}

function option(name: string, value: { toString(): string } | undefined): string {
  return value === undefined ? '' : `${name} ${value.toString()}`;
}

function words(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(' ');
}
