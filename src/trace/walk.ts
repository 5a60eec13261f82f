/**
 * One host's part of a packet's way, decided from its kernel's state alone.
 *
 * Purpose: `walk` follows a packet that starts on this host or comes out of its tunnel, until a container or the host
 * itself has it, it goes into a tunnel or out by another link, or it ends; each hop says what the kernel has, and the
 * hop at which it ends says why and what helps.
 * Invariants: pure; nothing is asked of other hosts.
 * Review notes: other people's tables of the families ip, ip6 and inet are asked at each hook (filter/hooks.ts). What it
 * does not look at is tables of bridge and netdev, and routes that refuse (blackhole, prohibit).
 */
import type { IpAddress } from '../base/ip.ts';
import { describeRoute, describeRule } from '../kernel/describe.ts';
import type { Route, Rule } from '../kernel/types.ts';
import type { TraceLeg, TraceLegRequest } from '../model/trace.ts';
import { deliver } from './deliver.ts';
import { startInContainer } from './depart.ts';
import { passHook, type Passage } from './filter/hooks.ts';
import { lookUp } from './lookup.ts';
import type { HostState, LocalContainer } from './state.ts';
import { intoTunnel, outOfTunnel } from './tunnel.ts';
import { translate } from './translate.ts';
import { Way } from './way.ts';

export function walk(state: HostState, request: TraceLegRequest): TraceLeg {
  const way = new Way(state.host, request);
  const { unreadable } = state.filters;
  if (unreadable.length > 0) way.doubt('firewall', 'rules that cannot be read', unreadable);
  const { tunnel } = request;
  const stopped =
    tunnel === undefined
      ? (startInContainer(state, way) ?? enter(state, way))
      : (outOfTunnel(state, way, tunnel) ??
        passHook(state, way, { hook: 'prerouting', iif: way.iif, oif: '' }));
  return stopped ?? route(state, way, request.answer);
}

/** The first hook, in whose midst our own tables translate. */
function enter(state: HostState, way: Way): TraceLeg | undefined {
  if (isUnseen(state, way)) return undefined;
  const passage: Passage =
    way.iif === ''
      ? { hook: 'output', iif: '', oif: outgoing(state, way) }
      : { hook: 'prerouting', iif: way.iif, oif: '' };
  return (
    passHook(state, way, { ...passage, part: 'early' }) ??
    (way.isAnswer || way.translated ? undefined : translate(state, way)) ??
    passHook(state, way, { ...passage, part: 'late' })
  );
}

/** Netfilter's rules for IP do not see what only crosses a bridge, unless br_netfilter shows it to them. */
const isUnseen = (state: HostState, way: Way): boolean =>
  way.bridged && !way.translated && !state.bridgeFilters[way.destination.family];

function outgoing(state: HostState, way: Way): string {
  const found = lookUp(state, way);
  if (found.kind === 'local') return 'lo';
  return found.kind === 'route' ? (found.route.link ?? '') : '';
}

function route(state: HostState, way: Way, isAnswer: boolean): TraceLeg {
  const { destination } = way;
  // Between two ports of one bridge no route is asked.
  const there = onBridge(state, { bridge: way.iif, destination });
  if (way.bridged && !way.translated)
    return leave(state, way, way.iif) ?? deliver(state, way, { isAnswer, container: there });
  const found = lookUp(state, way);
  if (found.kind === 'local') {
    way.pass('route', `local ${String(destination)} dev ${found.link}`);
    const stopped = passHook(state, way, { hook: 'input', iif: way.iif === '' ? 'lo' : way.iif, oif: '' });
    return stopped ?? deliver(state, way, { isAnswer, container: undefined });
  }
  if (found.kind === 'none')
    return way.stop(
      'route',
      `no route to ${String(destination)}`,
      `this host has no route to ${String(destination)}`,
      'see whether an overlay has this address with "portolan network ls", and whether its node is in "portolan node ls"; ' +
        'to what is outside of the cluster the host needs a route of its own',
    );
  tellRule(way, found.rule);
  way.pass('route', describeRoute(found.route));
  return byLink(state, way, found.route, isAnswer);
}

function onBridge(
  { containers }: HostState,
  wanted: { readonly bridge: string; readonly destination: IpAddress },
): LocalContainer | undefined {
  return containers.find(
    ({ bridge, addresses }) =>
      bridge === wanted.bridge && addresses.some(({ address }) => address.equals(wanted.destination)),
  );
}

function leave(state: HostState, way: Way, oif: string): TraceLeg | undefined {
  if (isUnseen(state, way)) return undefined;
  const { iif } = way;
  const stopped = iif === '' ? undefined : passHook(state, way, { hook: 'forward', iif, oif });
  return stopped ?? passHook(state, way, { hook: 'postrouting', iif: '', oif });
}

function tellRule(way: Way, rule: Rule | undefined): void {
  if (rule !== undefined) way.pass('policy-routing', describeRule(rule));
}

function byLink(state: HostState, way: Way, taken: Route, isAnswer: boolean): TraceLeg {
  const link = state.links.find(({ name }) => name === taken.link);
  if (link === undefined)
    return way.stop('route', describeRoute(taken), `the route's device "${taken.link ?? ''}" is not there`);
  const stopped = leave(state, way, link.name);
  if (stopped !== undefined) return stopped;
  if (link.details.kind === 'vxlan') return intoTunnel(state, way, { ...link, details: link.details }, taken);
  const here = onBridge(state, { bridge: link.name, destination: way.destination });
  if (here !== undefined) return deliver(state, way, { isAnswer, container: here });
  if (taken.gateway === undefined && state.containers.some(({ bridge }) => bridge === link.name))
    return nobody(way, link.name);
  if (taken.gateway === undefined && isOurs(link.alias)) return nobody(way, link.name);
  return leaveCluster(way, link.name);
}

/** Nothing is sent, so who is there is not known; an answer goes to somebody who has asked. */
function leaveCluster(way: Way, link: string): TraceLeg {
  const what = `leaves by ${link}`;
  if (way.isAnswer) way.pass('underlay', what);
  else
    way.doubt('underlay', what, [
      `what is behind ${link} is not looked at: whether anybody there has the address ${String(way.destination)}, and answers`,
    ]);
  return way.end({ kind: 'left', link });
}

const isOurs = (alias: string | undefined): boolean => alias?.startsWith('portolan') === true;

function nobody(way: Way, bridge: string): TraceLeg {
  return way.stop(
    'bridge',
    bridge,
    `no container on this host has the address ${String(way.destination)}`,
    'list the containers and their addresses with "portolan container ls"',
  );
}
