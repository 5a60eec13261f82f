/** What a lab consists of: pure, from the options of `lab up`. */
import { PortolanError } from '../base/errors.ts';
import { parsePrefix } from '../base/ip.ts';
import { MASTER_PORT } from '../model/config.ts';

export interface LabOptions {
  readonly hosts: number;
  readonly masters: number;
  readonly docker: boolean;
}

export interface HostPlan {
  readonly name: string;
  readonly role: 'master' | 'agent';
  /** On the underlay. */
  readonly address: string;
}

export const UNDERLAY_PREFIX_LENGTH = 24;
const underlay = parsePrefix('10.0.0.0/24');
/** Masters are 10.0.0.1 to .9, agents 10.0.0.11 to .210: the underlay is a /24. */
const MAX_MASTERS = 9;
const MAX_AGENTS = 200;
const FIRST_AGENT = 11;

export const defaultLabOptions: LabOptions = { hosts: 3, masters: 1, docker: false };

/** A lab's name becomes part of file, namespace and socket names. */
export function checkLabName(name: string): string {
  if (/^[a-z][a-z0-9-]{0,19}$/.test(name)) return name;
  throw new PortolanError('invalid', `Cannot name a lab "${name}"`, {
    field: '--lab',
    remedy: 'use at most 20 lower-case letters, digits and "-", a letter first',
  });
}

export function planHosts(options: LabOptions): readonly HostPlan[] {
  checkCount('--masters', options.masters, MAX_MASTERS);
  checkCount('--hosts', options.hosts, MAX_AGENTS);
  return [...numbered('master', options.masters, 1), ...numbered('agent', options.hosts, FIRST_AGENT)];
}

function checkCount(field: string, count: number, max: number): void {
  if (Number.isInteger(count) && count >= 1 && count <= max) return;
  throw new PortolanError('invalid', `Cannot make a lab with ${field} ${count}`, {
    field,
    remedy: `give a whole number from 1 to ${max}`,
  });
}

function numbered(role: HostPlan['role'], count: number, first: number): HostPlan[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `${role}${i + 1}`,
    role,
    address: String(underlay?.network.plus(first + i)),
  }));
}

/** `host:port` of every master's API. */
export function masterApis(hosts: readonly HostPlan[]): readonly string[] {
  return hosts.filter((host) => host.role === 'master').map((host) => `${host.address}:${MASTER_PORT}`);
}

/** Finds a host by its name or by its namespace's. */
export function findHost<Host extends { readonly name: string }>(
  lab: string,
  hosts: readonly Host[],
  wanted: string,
): Host {
  const found = hosts.find((host) => host.name === wanted || `${lab}-${host.name}` === wanted);
  if (found !== undefined) return found;
  throw new PortolanError('not-found', `Cannot find host "${wanted}" in lab "${lab}"`, {
    field: 'HOST',
    remedy: `choose one of ${hosts.map((host) => host.name).join(', ')}`,
  });
}
