/**
 * The networks this host is in or routes to: an overlay must intersect none of them.
 *
 * Our own devices and the routes through them are left out, since a master's host runs an agent too.
 */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { IpAddress, Prefix, parseInterfaceAddress } from '../base/ip.ts';
import type { HostNetwork } from '../model/network-validation.ts';
import { VTEP_NAME } from '../model/overlay.ts';

export async function findHostNetworks(): Promise<readonly HostNetwork[]> {
  const text = await readFile('/proc/net/route', 'utf8').catch(() => '');
  const found = [...interfaceNetworks(), ...parseRoutes(text)].filter(({ source }) => !isOurs(source));
  return found.map(({ prefix, source }) => ({ prefix, source: `of this host, ${source}` }));
}

/** An address of this host's that others may reach it at: the first that is neither loopback, link-local nor ours. */
export function findUnderlayAddress(): string | undefined {
  const candidates = interfaceNetworks().filter(({ source }) => !isOurs(source));
  const chosen = candidates.find(({ prefix }) => prefix.family === 4) ?? candidates[0];
  return chosen === undefined ? undefined : String(chosen.address);
}

interface InterfaceNetwork extends HostNetwork {
  readonly address: IpAddress;
}

function interfaceNetworks(): readonly InterfaceNetwork[] {
  return Object.entries(networkInterfaces()).flatMap(([source, addresses]) =>
    (addresses ?? []).flatMap(({ cidr, internal, scopeid }) => {
      const parsed = cidr === null ? undefined : parseInterfaceAddress(cidr);
      const linkLocal = scopeid !== undefined && scopeid !== 0;
      if (parsed === undefined || internal || linkLocal) return [];
      return { prefix: parsed.prefix, address: parsed.address, source };
    }),
  );
}

function isOurs(device: string): boolean {
  return device === VTEP_NAME || device.startsWith('m-') || device.startsWith('d-');
}

/** Reads /proc/net/route: destination and mask are hexadecimal words in the host's (little-endian) order. */
export function parseRoutes(text: string): readonly HostNetwork[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [source, destination, , , , , , mask] = line.trim().split(/\s+/);
      if (source === undefined || destination === undefined || mask === undefined) return [];
      const length = [...reversed(mask).toString(2)].filter((bit) => bit === '1').length;
      // The default route leads everywhere and claims nothing.
      if (length === 0) return [];
      return { prefix: new Prefix(new IpAddress(4, reversed(destination)), length), source };
    });
}

function reversed(hex: string): bigint {
  const bytes = hex.match(/../g) ?? [];
  return BigInt(`0x${[...bytes].reverse().join('')}`);
}
