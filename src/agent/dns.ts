/**
 * DNS on this host: names, server, and the upstreams that the host itself has.
 *
 * The server is no condition of anything else: where its port is taken, the agent says so, goes on, and tries again.
 */
import { parsePrefix } from '../base/ip.ts';
import { describeError } from '../base/errors.ts';
import type { Timer } from '../base/clock.ts';
import type { AgentConfig } from '../model/config.ts';
import { DnsNames } from '../node/dns-names.ts';
import { customZones, dnsListen, dnsServes, forwardingRules, readResolvConf } from './dns-config.ts';
import { DnsServer } from './dns-server.ts';
import type { Membership } from './membership.ts';
import type { OnClose, SessionComponents } from './session.ts';

const RETRY_MS = 5_000;
/** How often the host's own resolv.conf is read again. */
const RESOLV_CONF_MS = 5_000;

export interface Dns {
  readonly names: DnsNames;
  /** Begins to answer as soon as all names are there that were told until now: before that, "no such name" may be wrong. */
  start(): Promise<void>;
  /** Absent while it does not listen. */
  server(): DnsServer | undefined;
  status(): DnsStatus;
}

export interface DnsStatus {
  readonly state: 'serving' | 'failed' | 'disabled';
  readonly addresses: readonly string[];
  readonly error?: string;
}

export function openDns(
  components: SessionComponents,
  config: AgentConfig,
  membership: Membership,
  onClose: OnClose,
): Dns {
  const listen = dnsListen(config);
  const names = new DnsNames(
    { ...components, ...membership },
    {
      listen: listen.addresses,
      ttls: { own: config.dns.ttl, mesos: config.dns.mesos_ttl },
      vipRanges: [config.vips.range, config.vips.range6].flatMap((text) => parsePrefix(text ?? '') ?? []),
      custom: customZones(config),
      cluster: () => membership.grants.cluster(),
    },
  );
  onClose(() => names.close());
  const keeper = new ServerKeeper(components, config, names);
  onClose(() => keeper.close());
  const addresses = dnsServes(config).addresses.map(String);
  return {
    names,
    start: async () => {
      await names.settled();
      await keeper.start();
    },
    server: () => keeper.server,
    status: () => {
      if (addresses.length === 0) return { state: 'disabled', addresses };
      const { error } = keeper;
      return error === undefined ? { state: 'serving', addresses } : { state: 'failed', addresses, error };
    },
  };
}

class ServerKeeper {
  readonly #components: SessionComponents;
  readonly #config: AgentConfig;
  readonly #names: DnsNames;
  #timer: Timer | undefined;
  #closed = false;
  #resolvConf = readResolvConf();
  server: DnsServer | undefined;
  error: string | undefined;

  constructor(components: SessionComponents, config: AgentConfig, names: DnsNames) {
    this.#components = components;
    this.#config = config;
    this.#names = names;
  }

  async start(): Promise<void> {
    const listen = dnsServes(this.#config);
    if (listen.addresses.length === 0 || this.#closed) return;
    const { log } = this.#components;
    try {
      const rules = forwardingRules(this.#config, this.#resolvConf);
      const init = { listen, answerer: this.#names.answerer, rules };
      const server = await DnsServer.open({ ...this.#components, log: log.child('dns') }, init);
      if (this.#closed) await server.close();
      else this.server = server;
      this.error = undefined;
      log.info('Answering DNS queries', { addresses: listen.addresses.map(String), port: listen.port });
      this.#watch();
    } catch (error) {
      if (this.error === undefined)
        log.error('Cannot answer DNS queries', {
          error: describeError(error),
          remedy: 'let the server that has the port listen elsewhere, or set dns.enabled to false',
        });
      this.error = describeError(error);
      this.#timer = this.#components.clock.after(RETRY_MS, () => void this.start());
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.server?.close();
  }

  /** A host's name servers change with its leases. */
  #watch(): void {
    if (this.#closed || this.#config.dns.upstreams !== undefined) return;
    this.#timer = this.#components.clock.after(RESOLV_CONF_MS, () => {
      const text = readResolvConf();
      if (text !== this.#resolvConf) this.server?.setRules(forwardingRules(this.#config, text));
      this.#resolvConf = text;
      this.#watch();
    });
  }
}
