/** What the cases of the contract suite are made of. */
import { interfaceAddress, ip, prefix } from '../base/ip.ts';
import { parseMac, type Mac } from '../base/mac.ts';
import {
  PROTOCOL_PORTOLAN,
  TABLE_MAIN,
  type FdbEntry,
  type Kernel,
  type KernelOperation,
  type LinkSettings,
  type Neighbour,
  type NewLink,
  type Route,
} from './types.ts';

export interface OpenKernel {
  readonly kernel: Kernel;
  /** Paths of two empty namespaces. */
  readonly namespaces: readonly [string, string];
  /** Performs operations as somebody else. */
  interfere(operations: readonly KernelOperation[]): Promise<void>;
  /** Changes nftables as somebody else. */
  interfereNft(): void;
  close(): Promise<void> | void;
}

/** What the cases of one suite share; the kernel is another one in every case. */
export interface Case {
  readonly kernel: Kernel;
  readonly opened: OpenKernel;
  /** Performs operations that must all succeed. */
  done(...operations: readonly KernelOperation[]): Promise<void>;
  /** The errno of an operation that must fail. */
  refusal(operation: KernelOperation): Promise<string | undefined>;
}

export const mac = (last: number): Mac => {
  const parsed = parseMac(`70:b3:d5:80:00:${last.toString(16).padStart(2, '0')}`);
  if (parsed === undefined) throw new Error('a MAC for a test is malformed');
  return parsed;
};

export const bridge: NewLink = { kind: 'bridge' };
export const vxlan: Extract<NewLink, { kind: 'vxlan' }> = {
  kind: 'vxlan',
  vni: 1024,
  local: ip('10.0.0.1'),
  port: 64_000,
  learning: false,
};
export const add = (name: string, link: NewLink, settings: LinkSettings = {}): KernelOperation => ({
  do: 'link-add',
  name,
  link,
  settings,
});
export const set = (name: string, settings: LinkSettings): KernelOperation => ({
  do: 'link-set',
  name,
  settings,
});
export const remove = (name: string): KernelOperation => ({ do: 'link-delete', name });
export const address = (link: string, text: string): KernelOperation => ({
  do: 'address-replace',
  address: { link, address: interfaceAddress(text) },
});
export const route = (change: Partial<Route> = {}): Route => ({
  destination: prefix('9.0.1.0/24'),
  table: TABLE_MAIN,
  protocol: PROTOCOL_PORTOLAN,
  metric: 1001,
  gateway: ip('44.128.0.2'),
  link: 'vtep',
  onlink: true,
  ...change,
});
export const neighbour = (change: Partial<Neighbour> = {}): Neighbour => ({
  link: 'vtep',
  address: ip('44.128.0.2'),
  mac: mac(2),
  permanent: true,
  ...change,
});
export const fdb = (change: Partial<FdbEntry> = {}): FdbEntry => ({
  link: 'vtep',
  mac: mac(2),
  destination: ip('10.0.0.2'),
  permanent: true,
  ...change,
});

/** A VTEP, up, with its addresses. */
export const vtep: readonly KernelOperation[] = [
  add('vtep', vxlan, { up: true, mac: mac(1) }),
  address('vtep', '44.128.0.1/20'),
  address('vtep', 'fd01:a::1/64'),
];

/** Our routes. */
export async function ours(kernel: Kernel): Promise<readonly Route[]> {
  return kernel.routes({ protocol: PROTOCOL_PORTOLAN });
}

export async function ourRoutes(kernel: Kernel): Promise<string[]> {
  return (await ours(kernel))
    .map(({ destination, gateway }) => `${String(destination)} ${String(gateway)}`)
    .sort();
}
