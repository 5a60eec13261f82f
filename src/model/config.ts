/**
 * Configuration files of master and agent (YAML or JSON). Unknown keys are refused by name.
 */
import { z } from 'zod';
import { parsePrefix } from '../base/ip.ts';
import { agentNetworkConfig, networkConfig } from './overlay.ts';
import { dnsConfig, LOCAL_API_PORT } from './dns.ts';
import { ipText, prefixText } from './text.ts';

export const MASTER_PORT = 5050;
export const AGENT_PORT = 5051;
export const GOSSIP_PORT = 62_501;
/** Another one: masters run an agent too, on the same host. */
export const MASTER_GOSSIP_PORT = 62_502;

const hostPort = z.string().regex(/^(\[[0-9a-f:]+\]|[^:[\]]+):[0-9]{1,5}$/i, {
  error: (issue) => `"${String(issue.input)}" is not host:port such as 10.0.0.1:5050`,
});
const logLevel = z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info');
const port = z.int().min(1).max(65_535);

/** Virtual IPs. Every node of a cluster has the same ranges. */
const vipsConfig = z
  .strictObject({
    enabled: z.boolean().default(true),
    /** Addresses of named VIPs; nothing else may use them. */
    range: prefixText
      .refine((text) => parsePrefix(text)?.family === 4, 'an IPv4 network such as 11.0.0.0/8 is wanted here')
      .default('11.0.0.0/8'),
    range6: prefixText
      .refine((text) => parsePrefix(text)?.family === 6, 'an IPv6 network such as fd01:c::/64 is wanted here')
      .default('fd01:c::/64'),
  })
  .prefault({});
export type VipsConfig = z.infer<typeof vipsConfig>;

export const agentConfig = z.strictObject({
  /** APIs of the masters. */
  masters: z.array(hostPort).default([]),
  /**
   * `TOKEN@HOST:PORT`, or several of them: how to join a cluster on a first start, and again after having been removed.
   * Each is good for once; none is looked at while the node has a certificate.
   */
  join: z.union([z.string().transform((one) => [one]), z.array(z.string())]).default([]),
  /** Underlay address; absent = the source address of the route to the first master. */
  address: ipText.optional(),
  /** Absent = the host's name. */
  name: z.string().min(1).max(253).optional(),
  state_dir: z.string().default('/var/lib/portolan/agent'),
  run_dir: z.string().default('/run/portolan'),
  cni_dir: z.string().default('/etc/cni/net.d'),
  cni_bin_dir: z.string().default('/opt/cni/bin'),
  http_port: port.default(AGENT_PORT),
  gossip_port: port.default(GOSSIP_PORT),
  /** Only while agents of a version that did not sign its records are being replaced. */
  accept_unsigned_records: z.boolean().default(false),
  /** The API on 127.0.0.1, without containers; 0 = none. */
  local_port: z.int().min(0).max(65_535).default(LOCAL_API_PORT),
  network_config: agentNetworkConfig.prefault({}),
  dns: dnsConfig.prefault({}),
  max_configuration_attempts: z.int().min(0).max(10).default(4),
  /** The same on every host: containers in the mode `container/bridge` are reached by ports of their host only. */
  local_bridge: prefixText.default('172.31.254.0/24'),
  docker: z
    .strictObject({
      enabled: z.boolean().default(true),
      socket: z.string().default('/var/run/docker.sock'),
    })
    .prefault({}),
  vips: vipsConfig,
  /** Large segments of streams to containers go past connection tracking and routing, where the kernel can do it (Linux 6.6). */
  fast_path: z.boolean().default(true),
  /** Room on disk for what is kept because it may be used again; the one that was not used for longest goes first. */
  cache: z
    .strictObject({
      /** Unpacked images that no container stands on. */
      images_mib: z.int().nonnegative().default(10_240),
      /** Files that tasks fetch with `cache: true`. */
      fetch_mib: z.int().nonnegative().default(2048),
    })
    .prefault({}),
  /** What masters may run here; absent members are found out. */
  resources: z
    .strictObject({
      cpus: z.number().nonnegative().optional(),
      mem_mib: z.number().nonnegative().optional(),
      disk_mib: z.number().nonnegative().optional(),
      gpus: z.int().nonnegative().optional(),
      /** Host ports, both ends included. */
      ports: z.array(z.tuple([port, port])).default([[31_000, 32_000]]),
    })
    .prefault({}),
  /** For constraints: `rack: r1`. */
  attributes: z.record(z.string(), z.union([z.string(), z.number().transform(String)])).default({}),
  region: z.string().optional(),
  zone: z.string().optional(),
  /** False = masters run nothing here; containers started by hand are not concerned. */
  tasks: z.boolean().default(true),
  /** Sandboxes and logs of tasks that nobody asks for any more. */
  ended_tasks: z
    .strictObject({
      /** A week, as with Mesos, while the disk is empty; 0 = nothing is kept. */
      keep_seconds: z.number().min(0).max(31_536_000).default(604_800),
      /** Part of the disk beyond which nothing is kept; the nearer it is, the shorter things are kept. */
      disk_headroom: z.number().min(0).max(1).default(0.1),
      max: z.int().min(0).max(100_000).default(1000),
    })
    .prefault({}),
  log_level: logLevel,
});
export type AgentConfig = z.infer<typeof agentConfig>;

/** The overlay network a cluster gets when its operator names none. */
export const defaultNetwork = {
  vtep_subnet: '44.128.0.0/20',
  vtep_subnet6: 'fd01:a::/64',
  vtep_mac_oui: '70:B3:D5:00:00:00',
  overlays: [
    { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true },
    { name: 'dcos6', subnet6: 'fd01:b::/64', prefix6: 80, enabled: true },
  ],
};

/** As long as the authority's own certificate. */
const MAX_CERTIFICATE_SECONDS = 3650 * 86_400;

export const masterConfig = z.strictObject({
  /** Underlay address others reach this master at; absent = found from the routes. */
  address: ipText.optional(),
  name: z.string().min(1).max(253).optional(),
  /** `host:port` of every master's API, told to agents; absent = this one. */
  masters: z.array(hostPort).optional(),
  state_dir: z.string().default('/var/lib/portolan/master'),
  run_dir: z.string().default('/run/portolan'),
  http_port: port.default(MASTER_PORT),
  gossip_port: port.default(MASTER_GOSSIP_PORT),
  /** Only while agents of a version that did not sign its records are being replaced. */
  accept_unsigned_records: z.boolean().default(false),
  store: z.enum(['embedded']).default('embedded'),
  network: networkConfig.prefault(defaultNetwork),
  vips: vipsConfig,
  /** How apps are kept running. */
  apps: z
    .strictObject({
      /** Unreachable for so long, an agent counts as lost: its tasks are replaced as their apps want it. */
      agent_lost_seconds: z.number().min(1).max(86_400).default(75),
      /**
       * From the moment when no agent sends anything to a task any more until it is ended: as long as clients may keep
       * the answer that had it (`dns.ttl`), which is also enough for load balancers that follow the events.
       */
      drain_grace_seconds: z.number().min(0).max(3600).default(5),
      /** More are refused: each of them is looked after at every change, and read anew by a master that starts. */
      max_running_deployments: z.int().min(1).max(100_000).default(100),
    })
    .prefault({}),
  /** Life of a node's certificate; agents renew theirs after two thirds of it. */
  certificate_seconds: z
    .int()
    .min(10)
    .max(MAX_CERTIFICATE_SECONDS)
    .default(365 * 86_400),
  log_level: logLevel,
  /** Accepted from DC/OS configurations and not used: the store replaces the replicated log. */
  replicated_log_dir: z.string().optional(),
  replicated_log_timeout: z.string().optional(),
  zk: z.looseObject({}).optional(),
});
export type MasterConfig = z.infer<typeof masterConfig>;
