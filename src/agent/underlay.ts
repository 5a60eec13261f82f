/**
 * The underlay: which of the host's addresses others reach it at, on which link, with which MTU.
 *
 * The address is the configured one, or the source the kernel would use towards the first master. It is looked up
 * again whenever links or addresses change, since an MTU or an address may change under a running agent.
 */
import { createSocket } from 'node:dgram';
import { isPortolanError, PortolanError } from '../base/errors.ts';
import { parseIp, type IpAddress } from '../base/ip.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { sleep } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Kernel, KernelEvent } from '../kernel/types.ts';
import { VTEP_NAME } from '../model/overlay.ts';
import { isHostLinkName } from '../overlay/marks.ts';

export interface Underlay {
  readonly address: IpAddress;
  readonly link: string;
  readonly mtu: number;
}

export interface UnderlayInit {
  readonly address: string | undefined;
  /** `host:port` of the masters, to find the way to. */
  readonly masters: readonly string[];
}

const RETRY_MS = 1_000;
/** A link that goes down and up again, or an address that is replaced, is one change. */
const GATHER_MS = 50;

export interface UnderlayWatch {
  /** As of the last look that succeeded. */
  current(): Underlay;
  /** Looks again when the event may concern it. */
  onEvent(event: KernelEvent): void;
  close(): void;
}

/** Waits for a first underlay (a host may boot without its network), then follows its changes. */
export async function watchUnderlay(
  components: { readonly kernel: Kernel; readonly clock: Clock; readonly log: Log },
  init: UnderlayInit & {
    /** `moved`: to another address. */
    readonly onChange: (change: { readonly moved: boolean }) => void;
  },
): Promise<UnderlayWatch> {
  const { kernel, clock, log } = components;
  let found = await firstUnderlay(kernel, log, init);
  let timer: Timer | undefined;
  const look = async (): Promise<void> => {
    timer = undefined;
    const now = await findUnderlay(kernel, init).catch(() => found);
    const moved = !now.address.equals(found.address);
    if (!moved && now.link === found.link && now.mtu === found.mtu) return;
    log.info('The underlay changed', { address: String(now.address), link: now.link, mtu: now.mtu });
    found = now;
    init.onChange({ moved });
  };
  return {
    current: () => found,
    onEvent: (event) => {
      if (mayConcern(event, found)) timer ??= clock.after(GATHER_MS, () => void look());
    },
    close: () => timer?.cancel(),
  };
}

/** Its own link, or an address that comes elsewhere; containers' links come and go by the hundred. */
function mayConcern({ object, link }: KernelEvent, found: Underlay): boolean {
  if (object === 'overrun' || link === found.link) return true;
  return object === 'address' && link !== undefined && !isHostLinkName(link);
}

async function firstUnderlay(kernel: Kernel, log: Log, init: UnderlayInit): Promise<Underlay> {
  for (let told = false; ; told = true) {
    try {
      return await findUnderlay(kernel, init);
    } catch (error) {
      if (!isPortolanError(error, 'unavailable')) throw error;
      if (!told) log.warn('Waiting for the network', { error });
      await sleep(RETRY_MS);
    }
  }
}

/** Rejects with `invalid` when no interface carries the address, `unavailable` when no route leads to a master yet. */
export async function findUnderlay(kernel: Kernel, init: UnderlayInit): Promise<Underlay> {
  const address = init.address === undefined ? await sourceTowards(init.masters) : parseIp(init.address);
  if (address === undefined) throw noRoute(init.masters);
  const holder = (await kernel.addresses()).find((each) => each.address.address.equals(address));
  const link = holder === undefined ? undefined : await kernel.link(holder.link);
  if (link === undefined || link.name === VTEP_NAME)
    throw new PortolanError(
      'invalid',
      `Cannot use underlay address "${String(address)}": no interface has it`,
      {
        field: 'address',
        remedy: "set it to an address of this host's that other hosts can reach",
      },
    );
  return { address, link: link.name, mtu: link.mtu };
}

/** Where to listen. An address that is not configured may change under a running agent, so all are listened on. */
export function listenHost(configured: string | undefined, { address }: Underlay): string {
  return configured ?? (address.family === 4 ? '0.0.0.0' : '::');
}

function noRoute(masters: readonly string[]): PortolanError {
  return new PortolanError(
    'unavailable',
    `Cannot find this host's address: no route to ${masters.join(', ') || 'any master'}`,
    {
      field: 'address',
      remedy: 'set "address" (or "masters") in the agent\'s configuration, or bring the network up',
    },
  );
}

/** Connecting a UDP socket sends nothing; it only makes the kernel choose route and source. */
async function sourceTowards(masters: readonly string[]): Promise<IpAddress | undefined> {
  for (const master of masters) {
    const host = master.slice(0, master.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const found = await sourceFor(host);
    if (found !== undefined) return found;
  }
  return undefined;
}

function sourceFor(host: string): Promise<IpAddress | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const done = (found: IpAddress | undefined): void => {
      socket.close();
      resolve(found);
    };
    socket.once('error', () => done(undefined));
    socket.connect(9, host, () => done(parseIp(socket.address().address)));
  });
}
