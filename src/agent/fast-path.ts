/**
 * The fast path of this host's containers: where it is, as attachments and overlays come and go.
 *
 * Invariant: it is a gain and nothing else: where the kernel cannot do it, or something fails, containers are reached as
 * without it, and that is logged once.
 */
import { parseMac } from '../base/mac.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { describeError } from '../base/errors.ts';
import {
  LIBERAL_SYSCTL,
  type FastPath,
  type FastPathCounts,
  type FastPathLinks,
} from '../kernel/fastpath/fastpath.ts';
import { SysctlMemory } from '../kernel/sysctl-memory.ts';
import type { NetworkNamespace } from '../kernel/types.ts';
import type { Journal } from '../store/types.ts';
import type { AttachmentRecord } from './attachments-record.ts';

/** Attachments come in crowds. */
const GATHER_MS = 50;
/** Nobody tells when somebody else has connection tracking judge windows again. */
const CHECK_MS = 5_000;

export interface FastPathsComponents {
  readonly kernel: Pick<NetworkNamespace, 'readSysctl' | 'writeSysctl'>;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Throws where the kernel cannot do it. */
  readonly open: () => Pick<FastPath, 'set' | 'counts' | 'close'>;
}

export interface FastPathsInit {
  readonly enabled: boolean;
  attachments(): readonly AttachmentRecord[];
  /** Devices of the tunnel. */
  tunnels(): readonly string[];
}

export type FastPathStatus =
  | { readonly state: 'disabled' }
  | { readonly state: 'unavailable'; readonly reason: string }
  | ({ readonly state: 'on' } & FastPathCounts);

export class FastPaths {
  readonly #components: FastPathsComponents;
  readonly #init: FastPathsInit;
  readonly #sysctls: SysctlMemory;
  #path: ReturnType<FastPathsComponents['open']> | undefined;
  #problem: string | undefined;
  #soon: Timer | undefined;
  #check: Timer | undefined;
  /** It has been brought to links. */
  #isSet = false;
  #closed = false;

  constructor(components: FastPathsComponents, init: FastPathsInit) {
    this.#components = { ...components, log: components.log.child('fast-path') };
    this.#init = init;
    this.#sysctls = new SysctlMemory({ namespace: components.kernel, journal: components.journal });
    const { metrics } = components;
    const read = (name: keyof FastPathCounts, help: string): void =>
      metrics.read('counter', `portolan_fast_path_${name}_total`, help, [], () => {
        const counts = this.#path?.counts();
        return counts === undefined ? [] : [[{}, counts[name]]];
      });
    read('passed', 'Segments to containers that did not go through the kernel');
    read('learnt', 'Segments to containers that showed where others of their stream may go');
  }

  /** Attachments or the tunnel may be others. */
  refresh(): void {
    if (!this.#init.enabled || this.#problem !== undefined || this.#closed) return;
    this.#soon ??= this.#components.clock.after(GATHER_MS, () => {
      this.#soon = undefined;
      void this.#bringAbout();
    });
  }

  async #bringAbout(): Promise<void> {
    const { kernel, clock, log, open } = this.#components;
    try {
      // First: a host that cannot have it keeps its sysctl.
      this.#path ??= open();
      const mended = await this.#sysctls.ensure({ [LIBERAL_SYSCTL]: '1' });
      if (mended.length > 0 && this.#isSet) log.warn('Repaired sysctl', { key: LIBERAL_SYSCTL });
      const isLiberal = (await kernel.readSysctl(LIBERAL_SYSCTL)) === '1';
      if (this.#closed) return;
      this.#check?.cancel();
      this.#check = clock.after(CHECK_MS, () => void this.#bringAbout());
      // Without connection tracking there is nothing yet that a stream could pass by.
      if (!isLiberal) return;
      this.#path.set(this.#links());
      this.#isSet = true;
    } catch (error) {
      this.#problem = describeError(error);
      this.close();
      log.info('There is no fast path on this host: streams to containers go through all of the kernel', {
        error,
      });
    }
  }

  #links(): FastPathLinks {
    const ports = this.#init.attachments().flatMap(({ hostLink, mac }) => {
      const parsed = parseMac(mac);
      return parsed === undefined ? [] : [{ link: hostLink, mac: parsed }];
    });
    return { ports, entries: this.#init.tunnels() };
  }

  status(): FastPathStatus {
    if (!this.#init.enabled) return { state: 'disabled' };
    if (this.#problem !== undefined) return { state: 'unavailable', reason: this.#problem };
    return { state: 'on', ...(this.#path?.counts() ?? { passed: 0, learnt: 0 }) };
  }

  close(): void {
    this.#closed = true;
    this.#soon?.cancel();
    this.#check?.cancel();
    this.#path?.close();
    this.#path = undefined;
  }
}
