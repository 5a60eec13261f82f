/**
 * The agent's side of registration (reference "overlay network", section 4) as a state machine.
 *
 * Purpose: `step(event, now) -> effects`; the shell in agent/ has sockets and timers and no rules.
 * Invariants: at most one request and one configuration are under way; while REGISTERING an attempt timer is always
 * pending, so no lost answer can end the registration; an overlay that is OK and unchanged is never configured again.
 * Review notes: what differs from the old agent: the first attempt is made at once; masters are tried in turn; an
 * overlay counts as known only while it equals what was configured (the old one missed changes); a removed node takes
 * a new identity instead of coming back.
 */
import { unreachable } from '../base/assert.ts';
import type { Random } from '../base/random.ts';
import type { AgentOverlay, OverlayState } from '../model/overlay.ts';
import type { UpdateAgentOverlays } from '../model/registration.ts';

export const FIRST_BACKOFF_MS = 5000;
export const MAX_BACKOFF_MS = 600_000;
export const HEALTH_INTERVAL_MS = 5000;

export type RegistrationStatus = 'REGISTERING' | 'REGISTERED';

export type RegistrationEvent =
  | { readonly type: 'start' }
  /** The attempt timer fired. */
  | { readonly type: 'attempt' }
  /** The health timer fired. */
  | { readonly type: 'check' }
  /** Answer to RegisterAgent. */
  | { readonly type: 'granted'; readonly update: UpdateAgentOverlays }
  /** RegisterAgent came to nothing. */
  | { readonly type: 'refused'; readonly why: 'removed' | 'refused' | 'unreachable' }
  /** The overlays of the grant with `state`. */
  | { readonly type: 'configured'; readonly overlays: readonly AgentOverlay[] }
  /** Answer to AgentRegistered. */
  | { readonly type: 'acknowledged'; readonly master: string }
  /** AgentRegistered came to nothing. */
  | { readonly type: 'unacknowledged'; readonly why: 'refused' | 'unreachable' }
  /** The node has forgotten its old identity, or failed to. */
  | { readonly type: 'renewed'; readonly done: boolean }
  /** The instance a master says it is; `undefined` = nobody answered. */
  | { readonly type: 'health'; readonly master: string | undefined };

export type RegistrationEffect =
  | { readonly do: 'register'; readonly master: number }
  | { readonly do: 'report'; readonly master: number; readonly overlays: readonly AgentOverlay[] }
  | { readonly do: 'ask-health'; readonly master: number }
  /** Configure `overlays` of the grant; the others are OK as they are. */
  | { readonly do: 'configure'; readonly grant: UpdateAgentOverlays; readonly overlays: readonly string[] }
  | { readonly do: 'renew' }
  | { readonly do: 'set-timer'; readonly timer: 'attempt' | 'check'; readonly delayMs: number }
  | { readonly do: 'clear-timer'; readonly timer: 'attempt' };

export interface RegistrationInit {
  readonly maxConfigurationAttempts: number;
}

/** What the machine is waiting for, at most one thing at a time. */
type Pending = 'nothing' | 'grant' | 'configuration' | 'acknowledgement' | 'renewal';

export class RegistrationMachine {
  readonly #random: Random;
  readonly #init: RegistrationInit;
  #status: RegistrationStatus = 'REGISTERING';
  #pending: Pending = 'nothing';
  /** A master changed while something was pending: register again as soon as that is over. */
  #again = false;
  /** No master answered last time. */
  #lost = false;
  #master = 0;
  #instance: string | undefined;
  #attempts = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #overlays: readonly AgentOverlay[] = [];

  constructor(components: { readonly random: Random }, init: RegistrationInit) {
    this.#random = components.random;
    this.#init = init;
  }

  get status(): RegistrationStatus {
    return this.#status;
  }
  get attempts(): number {
    return this.#attempts;
  }
  /** Overlays of the last grant, with `state`. */
  get overlays(): readonly AgentOverlay[] {
    return this.#overlays;
  }
  /** Which master is spoken to: counts on past the last, the shell takes the remainder, since the list may change. */
  get master(): number {
    return this.#master;
  }

  step(event: RegistrationEvent): readonly RegistrationEffect[] {
    switch (event.type) {
      case 'start':
        return [...this.#register(), timer('check', HEALTH_INTERVAL_MS)];
      case 'attempt':
        return this.#status === 'REGISTERED' ? [] : this.#attempt();
      case 'check':
        return [{ do: 'ask-health', master: this.#master }, timer('check', HEALTH_INTERVAL_MS)];
      case 'granted':
        return this.#granted(event.update);
      case 'refused':
        return this.#refused(event.why);
      case 'configured':
        return this.#configured(event.overlays);
      case 'acknowledged':
        return this.#acknowledged(event.master);
      case 'unacknowledged':
        return this.#unacknowledged(event.why);
      case 'renewed':
        return this.#renewed(event.done);
      case 'health':
        return this.#heard(event.master);
      default:
        return unreachable(event);
    }
  }

  /** From the beginning: a first start, or another master. */
  #register(): readonly RegistrationEffect[] {
    this.#status = 'REGISTERING';
    this.#attempts = 0;
    this.#backoffMs = FIRST_BACKOFF_MS;
    return this.#attempt();
  }

  /** Sends unless something is pending; the timer runs on either way. */
  #attempt(): readonly RegistrationEffect[] {
    const next = this.#nextTimer();
    if (this.#pending !== 'nothing') return [next];
    this.#pending = 'grant';
    return [{ do: 'register', master: this.#master }, next];
  }

  /** Uniform in [0, max], then max doubles, up to ten minutes. */
  #nextTimer(): RegistrationEffect {
    const delayMs = Math.round(this.#random.next() * this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_BACKOFF_MS);
    return timer('attempt', delayMs);
  }

  #granted(update: UpdateAgentOverlays): readonly RegistrationEffect[] {
    if (this.#pending !== 'grant' || this.#status === 'REGISTERED') return [];
    this.#lost = false;
    this.#instance = update.master;
    const before = new Map(this.#overlays.map((overlay) => [overlay.info.name, overlay]));
    this.#overlays = update.overlays.map((overlay) => {
      const known = before.get(overlay.info.name);
      const state: OverlayState = isUnchanged(known, overlay) ? ok : { status: 'STATUS_CONFIGURING' };
      return { ...overlay, state };
    });
    const wanted = this.#overlays.filter(({ state }) => state !== ok).map(({ info }) => info.name);
    this.#pending = 'configuration';
    return [{ do: 'configure', grant: update, overlays: wanted }];
  }

  #refused(why: 'removed' | 'refused' | 'unreachable'): readonly RegistrationEffect[] {
    if (this.#pending !== 'grant') return [];
    this.#lost = why === 'unreachable';
    if (why === 'removed') {
      this.#pending = 'renewal';
      return [{ do: 'clear-timer', timer: 'attempt' }, { do: 'renew' }];
    }
    this.#pending = 'nothing';
    this.#nextMaster();
    return this.#resume();
  }

  #configured(overlays: readonly AgentOverlay[]): readonly RegistrationEffect[] {
    if (this.#pending !== 'configuration') return [];
    const states = new Map(overlays.map(({ info, state }) => [info.name, state]));
    this.#overlays = this.#overlays.map((overlay) => ({
      ...overlay,
      state: states.get(overlay.info.name) ?? (overlay.state === ok ? ok : notConfigured),
    }));
    this.#pending = 'acknowledgement';
    return [{ do: 'report', master: this.#master, overlays: this.#overlays }];
  }

  #acknowledged(master: string): readonly RegistrationEffect[] {
    if (this.#pending !== 'acknowledgement') return [];
    this.#pending = 'nothing';
    this.#attempts += 1;
    const done = this.#overlays.every(({ state }) => state?.status === 'STATUS_OK');
    if (!done && this.#attempts <= this.#init.maxConfigurationAttempts) return this.#resume();
    // Another master than the one that granted: it gets its own registration, at the timer's pace.
    if (this.#again || master !== this.#instance) return this.#resume();
    this.#status = 'REGISTERED';
    return [{ do: 'clear-timer', timer: 'attempt' }];
  }

  #unacknowledged(why: 'refused' | 'unreachable'): readonly RegistrationEffect[] {
    if (this.#pending !== 'acknowledgement') return [];
    this.#pending = 'nothing';
    this.#lost = why === 'unreachable';
    this.#nextMaster();
    return this.#resume();
  }

  /** The new identity has nothing: neither grant nor overlays. Its attempt waits, so that a fault cannot spin. */
  #renewed(done: boolean): readonly RegistrationEffect[] {
    if (this.#pending !== 'renewal') return [];
    this.#pending = 'nothing';
    this.#overlays = [];
    this.#attempts = 0;
    this.#again = false;
    if (done) this.#backoffMs = FIRST_BACKOFF_MS;
    return [this.#nextTimer()];
  }

  /** A master that restarted, came back, or is gone: what it knows of us may be gone too. */
  #heard(master: string | undefined): readonly RegistrationEffect[] {
    if (master === undefined) return this.#heardNothing();
    const restarted = this.#instance !== undefined && this.#instance !== master;
    const cameBack = this.#lost;
    this.#lost = false;
    if (!restarted && !cameBack) return [];
    if (this.#pending === 'nothing') return this.#register();
    this.#again = this.#pending !== 'grant';
    return [];
  }

  #heardNothing(): readonly RegistrationEffect[] {
    this.#lost = true;
    this.#nextMaster();
    if (this.#status === 'REGISTERING') return [];
    this.#status = 'REGISTERING';
    this.#backoffMs = FIRST_BACKOFF_MS;
    return [this.#nextTimer()];
  }

  /** What was pending is over. Without another master in between the timer decides when to go on. */
  #resume(): readonly RegistrationEffect[] {
    if (!this.#again) return [];
    this.#again = false;
    return this.#register();
  }

  #nextMaster(): void {
    this.#master += 1;
  }
}

const ok: OverlayState = { status: 'STATUS_OK' };
const notConfigured: OverlayState = {
  status: 'STATUS_FAILED',
  error: 'the agent did not say how configuring it went',
};

/** True when `known` is configured, and exactly as `overlay` wants it. */
function isUnchanged(known: AgentOverlay | undefined, overlay: AgentOverlay): boolean {
  if (known?.state?.status !== 'STATUS_OK') return false;
  return canonicalText(known) === canonicalText(overlay);
}

/** JSON with sorted members and without `state`. */
function canonicalText({ state: _, ...overlay }: AgentOverlay): string {
  return JSON.stringify(overlay, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

function timer(name: 'attempt' | 'check', delayMs: number): RegistrationEffect {
  return { do: 'set-timer', timer: name, delayMs };
}
