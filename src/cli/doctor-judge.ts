/** What the doctor makes of what it found about ports, clocks and nodes: pure. */
import type { Check } from '../agent/preflight.ts';
import type { AgentOverlay } from '../model/overlay.ts';

/** HTTP tells whole seconds, and answers take their time. */
const SKEW_MAX_MS = 2_000;
const MAX_NAMED = 5;

/** A clock elsewhere, compared with this host's. */
export interface ClockSample {
  /** `host:port` */
  readonly of: string;
  /** Positive = it is ahead of this host. */
  readonly skewMs: number;
}

export function judgeClock(samples: readonly ClockSample[]): Check {
  const check = 'clock';
  const worst = samples.reduce<ClockSample | undefined>(
    (most, each) => (Math.abs(each.skewMs) > Math.abs(most?.skewMs ?? 0) ? each : most),
    samples[0],
  );
  if (worst === undefined)
    return { check, verdict: 'warning', found: 'nobody to compare with', remedy: 'see the check "masters"' };
  const seconds = (Math.abs(worst.skewMs) / 1000).toFixed(1);
  if (Math.abs(worst.skewMs) <= SKEW_MAX_MS)
    return {
      check,
      verdict: 'ok',
      found: `within ${SKEW_MAX_MS / 1000} s of ${list(samples.map(({ of }) => of))}`,
      remedy: '',
    };
  return {
    check,
    verdict: 'warning',
    found: `${seconds} s ${worst.skewMs > 0 ? 'behind' : 'ahead of'} ${worst.of}`,
    remedy:
      'run an NTP client (chrony, systemd-timesyncd) on both hosts: certificates are checked by the clock',
  };
}

/** As the agent tells it: ISO 8601. */
export interface CertificateSample {
  readonly expires: string;
  /** Absent from older agents. */
  readonly renews?: string;
}

/** It renews itself after two thirds of its life, a year's with four months left: later than that something is wrong. */
export function judgeCertificate(certificate: CertificateSample | undefined, nowMs: number): Check {
  const check = 'certificate';
  const { expires = 'at an unknown time', renews } = certificate ?? {};
  if (!(Date.parse(expires) > nowMs))
    return {
      check,
      verdict: 'failed',
      found: `ended ${expires}; this host's clock says ${new Date(nowMs).toISOString()}`,
      remedy: 'correct the clock, or stop the agent and run `portolan join TOKEN@HOST:PORT`',
    };
  if (renews !== undefined && Date.parse(renews) + (Date.parse(expires) - Date.parse(renews)) / 10 < nowMs)
    return {
      check,
      verdict: 'warning',
      found: `ends ${expires}, and could not be renewed since ${renews}`,
      remedy: "a master must be reachable: see `Cannot renew the certificate` in the agent's log",
    };
  return { check, verdict: 'ok', found: `until ${expires}`, remedy: '' };
}

export interface RegistrationSample {
  readonly registered?: boolean;
  readonly registration?: { readonly error?: string };
}

export function judgeRegistration({ registered, registration }: RegistrationSample): Check {
  const check = 'agent';
  if (registered === true) return { check, verdict: 'ok', found: 'registered', remedy: '' };
  const { error } = registration ?? {};
  return {
    check,
    verdict: 'warning',
    found: error === undefined ? 'not registered' : `not registered: ${error}`,
    remedy: 'nothing that runs needs it; for changes a master must be reachable, and the agent able to write',
  };
}

export interface KernelSample {
  readonly applied?: boolean;
  readonly reconciler?: {
    readonly last?: { readonly failures: readonly string[]; readonly faults: readonly string[] };
  };
}

export function judgeKernel({ applied, reconciler }: KernelSample): Check {
  const check = 'kernel state';
  if (applied === true) return { check, verdict: 'ok', found: 'as desired', remedy: '' };
  const refused = [...(reconciler?.last?.faults ?? []), ...(reconciler?.last?.failures ?? [])];
  const more = refused.length > 1 ? ` and ${refused.length - 1} more` : '';
  return {
    check,
    verdict: 'warning',
    found: refused[0] === undefined ? 'not as desired' : `not as desired: ${refused[0]}${more}`,
    remedy: 'see `reconciler` in /v1/status',
  };
}

export interface PortState {
  readonly name: 'exchange' | 'beats' | 'api' | 'vxlan';
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** free: nobody has it. ours: this host's agent or tunnel has it, and answers. */
  readonly state: 'free' | 'ours' | 'silent' | 'taken';
}

export function judgePort({ name, protocol, port, state }: PortState): Check {
  const where = `${protocol.toUpperCase()} ${port}`;
  const check = `port ${name}`;
  // Without datagrams agents beat over their streams.
  const verdict = name === 'beats' ? 'warning' : 'failed';
  switch (state) {
    case 'free':
      return { check, verdict: 'ok', found: `${where} is free`, remedy: '' };
    case 'ours':
      return { check, verdict: 'ok', found: `${where} is ours`, remedy: '' };
    case 'silent':
      return {
        check,
        verdict,
        found: `the agent does not answer on ${where}`,
        remedy:
          name === 'beats'
            ? `it takes the port within ten seconds of its being free; later, see the agent's log`
            : `see the agent's log; a firewall must let ${where} pass`,
      };
    case 'taken':
      return {
        check,
        verdict,
        found: `another program has ${where}`,
        remedy: `see "ss -lnp 'sport = :${port}'": ${portRemedies[name]}`,
      };
  }
}

const portRemedies: Readonly<Record<PortState['name'], string>> = {
  exchange: 'end it, or choose another port as `gossip_port` in agent.yaml',
  beats: 'end it, or choose another port as `gossip_port` in agent.yaml',
  api: 'end it, or choose another port as `http_port` in agent.yaml',
  vxlan: 'end it, since all hosts send there',
};

/** Which of the masters answer. */
export function judgeMasters(answers: ReadonlyMap<string, boolean>): Check {
  const check = 'masters';
  const silent = [...answers].filter(([, answered]) => !answered).map(([master]) => master);
  if (answers.size === 0)
    return { check, verdict: 'warning', found: 'none known', remedy: 'name them as `masters` in agent.yaml' };
  if (silent.length === 0)
    return { check, verdict: 'ok', found: `${list([...answers.keys()])} answer`, remedy: '' };
  return {
    check,
    // Nothing that runs needs a master.
    verdict: 'warning',
    found: `${list(silent)} ${silent.length === 1 ? 'does' : 'do'} not answer`,
    remedy: 'start them; firewalls must let TCP 5050 pass from every host',
  };
}

export interface SeenDocker {
  readonly networks?: readonly { readonly name: string; readonly state: string; readonly message?: string }[];
}

/** Overlays that do not work here, and those that this host's Docker cannot have. */
export function judgeOverlays(overlays: readonly AgentOverlay[], docker: SeenDocker = {}): readonly Check[] {
  const failed = overlays.filter(({ state }) => state?.status === 'STATUS_FAILED');
  const withheld = (docker.networks ?? []).filter(({ state }) => state === 'unsupported');
  return [
    ...failed.map(({ info, state }): Check => {
      const found = state?.error ?? 'failed';
      return { check: `overlay ${info.name}`, verdict: 'failed', found, remedy: 'mend what it names' };
    }),
    ...withheld.map(({ name, message }): Check => {
      // Not a fault: containers of all other runtimes have it.
      return {
        check: `docker ${name}`,
        verdict: 'ok',
        found: message ?? 'not offered to Docker',
        remedy: '',
      };
    }),
  ];
}

export interface SeenNode {
  readonly name: string;
  readonly state?: string;
  readonly unreachable_for?: readonly string[];
}

/** Of a one-way cut only one side knows, so what others say counts too. */
export function judgeNodes(nodes: readonly SeenNode[]): Check {
  const check = 'nodes';
  const hidden = nodes.filter(
    ({ state, unreachable_for: viewers = [] }) => state === 'unreachable' || viewers.length > 0,
  );
  if (hidden.length === 0)
    return { check, verdict: 'ok', found: `${nodes.length} known, all reachable`, remedy: '' };
  return {
    check,
    verdict: 'warning',
    found: `unreachable: ${list(hidden.map(describe))}`,
    remedy:
      'check those hosts; firewalls must let TCP and UDP 62501 and UDP 64000 pass both ways between all hosts',
  };
}

function describe({ name, state, unreachable_for: viewers = [] }: SeenNode): string {
  return state === 'unreachable' ? name : `${name} (for ${list(viewers)})`;
}

function list(words: readonly string[]): string {
  const more = words.length - MAX_NAMED;
  return more > 0 ? `${words.slice(0, MAX_NAMED).join(', ')} and ${more} more` : words.join(', ');
}
