/**
 * The shell of the registration protocol: requests and timers around the machine in overlay/registration.ts.
 *
 * Invariants: no request outlives `stop`; every effect ends in an event, whatever happens, so the machine never waits
 * for what will not come.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { PortolanError, describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { parseTarget, type Answer, type HttpTarget, type RequestInit } from '../http/client.ts';
import type { ErrorBody } from '../http/errors.ts';
import type { AgentOverlay } from '../model/overlay.ts';
import {
  REGISTERED_PATH,
  REGISTER_PATH,
  agentRegisteredAcknowledgement,
  updateAgentOverlays,
  type RegisterAgent,
  type UpdateAgentOverlays,
} from '../model/registration.ts';
import {
  RegistrationMachine,
  type RegistrationEffect,
  type RegistrationEvent,
  type RegistrationStatus,
} from '../overlay/registration.ts';
import { createRegistrationMetrics, type RegistrationMetrics } from './registration-metrics.ts';

export interface RegistrationComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly request: (target: HttpTarget, init: RequestInit) => Promise<Answer>;
}

export interface RegistrationInit {
  /** `host:port` of the masters as known now: configured ones and those the cluster tells of. */
  readonly masters: () => readonly string[];
  readonly maxConfigurationAttempts: number;
  /** The message as of now: identity and address may change between two attempts. */
  readonly registration: () => RegisterAgent;
  /**
   * Makes the grant the present one; `changed` names the overlays that are new, differ or failed before. Resolves to
   * the overlays with `state`; those not in `changed` may be left out.
   */
  readonly configure: (
    grant: UpdateAgentOverlays,
    changed: readonly string[],
  ) => Promise<readonly AgentOverlay[]>;
  /** `confirmedAt` is another one. */
  readonly onConfirmed?: () => void;
  /** The cluster removed this node: resolves when it has dropped its grant and taken a new identity. */
  readonly onRemoved: () => Promise<void>;
}

export interface RegistrationState {
  readonly status: RegistrationStatus;
  readonly configuration_attempts: number;
  readonly overlays: readonly AgentOverlay[];
  /** Why the last request came to nothing; absent when it did not. */
  readonly error?: string;
}

export interface Registration {
  start(): void;
  /** Asks the masters within `withinMs`, at random, instead of when it is time again: their word may be another one. */
  askSoon(withinMs: number): void;
  /** When the master was asked that said last that this node is registered as it wants it; monotonic ms, or -Infinity. */
  confirmedAt(): number;
  /** Ends requests under way; nothing is called afterwards. */
  stop(): Promise<void>;
  state(): RegistrationState;
  /** Resolves at the first REGISTERED. */
  ready(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 10_000;
const HEALTH_TIMEOUT_MS = 4000;
const UPDATE_LIMIT = 50;

export function createRegistration(components: RegistrationComponents, init: RegistrationInit): Registration {
  return new RegistrationShell(components, init);
}

class RegistrationShell implements Registration {
  readonly #components: RegistrationComponents;
  readonly #init: RegistrationInit;
  readonly #metrics: RegistrationMetrics;
  readonly #machine: RegistrationMachine;
  readonly #timers = new Map<'attempt' | 'check', Timer>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  readonly #readiness: { readonly promise: Promise<void>; readonly resolve: () => void };
  #error: string | undefined;
  #confirmedAt = -Infinity;

  constructor(components: RegistrationComponents, init: RegistrationInit) {
    this.#components = components;
    this.#init = init;
    this.#metrics = createRegistrationMetrics(components.metrics);
    this.#machine = new RegistrationMachine(components, {
      maxConfigurationAttempts: init.maxConfigurationAttempts,
    });
    let resolve = (): void => undefined;
    const promise = new Promise<void>((settle) => (resolve = settle));
    this.#readiness = { promise, resolve };
  }

  start(): void {
    // Without a Mesos bridge no container waits for the overlays (reference, section 4, "Agent rules").
    if (!this.#init.registration().network_config.mesos_bridge) this.#readiness.resolve();
    this.#step({ type: 'start' });
  }

  askSoon(withinMs: number): void {
    if (!this.#abort.signal.aborted && this.#timers.has('check'))
      this.#setTimer('check', Math.round(this.#components.random.next() * withinMs));
  }

  confirmedAt(): number {
    return this.#confirmedAt;
  }

  /** A master's answer has been taken that was asked for at `askedAt`. */
  #confirm(askedAt: number): void {
    if (this.#abort.signal.aborted || this.#machine.status !== 'REGISTERED') return;
    this.#confirmedAt = askedAt;
    this.#init.onConfirmed?.();
  }

  async stop(): Promise<void> {
    this.#abort.abort(new Error('the registration was stopped'));
    for (const timer of this.#timers.values()) timer.cancel();
    await Promise.allSettled(this.#underWay);
  }

  state(): RegistrationState {
    const { status, attempts, overlays } = this.#machine;
    const error = this.#error === undefined ? {} : { error: this.#error };
    return { status, configuration_attempts: attempts, overlays, ...error };
  }

  ready(): Promise<void> {
    return this.#readiness.promise;
  }

  #step(event: RegistrationEvent): void {
    if (this.#abort.signal.aborted) return;
    const before = this.#machine.status;
    for (const effect of this.#machine.step(event)) this.#perform(effect);
    const { status, overlays } = this.#machine;
    this.#metrics.observe(status, overlays);
    if (status === before) return;
    this.#components.log.info('Registration changed', { status, master: this.#machine.master });
    if (status === 'REGISTERED') this.#readiness.resolve();
  }

  #perform(effect: RegistrationEffect): void {
    switch (effect.do) {
      case 'set-timer':
        this.#setTimer(effect.timer, effect.delayMs);
        break;
      case 'clear-timer':
        this.#timers.get(effect.timer)?.cancel();
        break;
      case 'register':
        this.#run(this.#register(effect.master));
        break;
      case 'configure':
        this.#run(this.#configure(effect.grant, effect.overlays));
        break;
      case 'report':
        this.#run(this.#report(effect.master, effect.overlays));
        break;
      case 'renew':
        // Not waited for by `stop`: taking a new identity may itself stop this registration.
        void this.#renew();
        break;
      case 'ask-health':
        this.#run(this.#askHealth(effect.master));
        break;
    }
  }

  #run(work: Promise<void>): void {
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }

  #setTimer(timer: 'attempt' | 'check', delayMs: number): void {
    this.#timers.get(timer)?.cancel();
    this.#timers.set(
      timer,
      this.#components.clock.after(delayMs, () => this.#step({ type: timer })),
    );
  }

  async #register(master: number): Promise<void> {
    this.#metrics.count('register_agent_messages_sent');
    try {
      const answer = await this.#post(master, REGISTER_PATH, this.#init.registration());
      if (answer.status !== 200) throw refusal(answer);
      const update = updateAgentOverlays.parse(answer.body);
      this.#metrics.count('update_agent_overlays_messages_received');
      this.#noteError(undefined);
      this.#step({ type: 'granted', update });
    } catch (error) {
      this.#noteError(error);
      this.#step({ type: 'refused', why: whyRefused(error) });
    }
  }

  async #configure(grant: UpdateAgentOverlays, changed: readonly string[]): Promise<void> {
    let overlays: readonly AgentOverlay[];
    try {
      overlays = await this.#init.configure(grant, changed);
    } catch (error) {
      this.#noteError(error);
      const state = { status: 'STATUS_FAILED' as const, error: describeError(error) };
      overlays = grant.overlays.map((overlay) => ({ ...overlay, state }));
    }
    const failed = overlays.filter(({ state }) => state?.status !== 'STATUS_OK').slice(0, UPDATE_LIMIT);
    for (const { info, state } of failed)
      this.#components.log.error('Cannot configure an overlay', { overlay: info.name, error: state?.error });
    this.#metrics.configured(overlays);
    this.#step({ type: 'configured', overlays });
  }

  async #report(master: number, overlays: readonly AgentOverlay[]): Promise<void> {
    this.#metrics.count('agent_registered_messages_sent');
    const { node } = this.#init.registration();
    const askedAt = this.#components.clock.nowMs();
    try {
      const answer = await this.#post(master, REGISTERED_PATH, { node, overlays });
      if (answer.status !== 200) throw refusal(answer);
      const acknowledgement = agentRegisteredAcknowledgement.parse(answer.body);
      this.#metrics.count('agent_registered_acknowledgements_received');
      this.#step({ type: 'acknowledged', master: acknowledgement.master });
      this.#confirm(askedAt);
    } catch (error) {
      this.#metrics.count('agent_registered_messages_dropped');
      this.#noteError(error);
      const why = whyRefused(error) === 'unreachable' ? 'unreachable' : 'refused';
      this.#step({ type: 'unacknowledged', why });
    }
  }

  async #renew(): Promise<void> {
    this.#components.log.error('The cluster has removed this node; taking a new identity');
    let done = true;
    try {
      await this.#init.onRemoved();
    } catch (error) {
      // The next registration is refused again, which brings us back here at the timer's pace.
      done = false;
      this.#noteError(error);
      this.#components.log.error('Cannot take a new identity', { error });
    }
    this.#step({ type: 'renewed', done });
  }

  async #askHealth(master: number): Promise<void> {
    const target = this.#target(master);
    const askedAt = this.#components.clock.nowMs();
    let instance: string | undefined;
    try {
      if (target === undefined) return;
      const answer = await this.#components.request(target, {
        method: 'GET',
        path: '/health',
        timeoutMs: HEALTH_TIMEOUT_MS,
        signal: this.#abort.signal,
      });
      instance = instanceOf(answer);
    } catch (error) {
      this.#noteError(error);
    }
    this.#step({ type: 'health', master: instance });
    if (instance !== undefined) this.#confirm(askedAt);
  }

  #target(master: number): HttpTarget | undefined {
    const masters = this.#init.masters();
    const address = masters[master % masters.length];
    return address === undefined ? undefined : parseTarget(address);
  }

  #post(master: number, path: string, body: unknown): Promise<Answer> {
    const target = this.#target(master);
    if (target === undefined) throw noMasters();
    return this.#components.request(target, {
      method: 'POST',
      path,
      body,
      timeoutMs: REQUEST_TIMEOUT_MS,
      signal: this.#abort.signal,
    });
  }

  /** Logs a failure when it is another than the last: an absent master must not fill the log. */
  #noteError(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    const text = error === undefined ? undefined : describeError(error);
    if (text !== undefined && text !== this.#error)
      this.#components.log.warn('Registration has trouble', { error: text });
    this.#error = text;
  }
}

/** A master that recovers has an instance but cannot serve yet. */
function instanceOf({ status, body }: Answer): string | undefined {
  if (status !== 200 || typeof body !== 'object' || body === null) return undefined;
  const { master, status: health } = body as { master?: unknown; status?: unknown };
  return typeof master === 'string' && health === 'ok' ? master : undefined;
}

function refusal({ status, body }: Answer): PortolanError {
  const told = (typeof body === 'object' ? body : undefined) as Partial<ErrorBody> | null | undefined;
  return new PortolanError(told?.code ?? 'unavailable', told?.message ?? `The master answered ${status}`, {
    ...(told?.field === undefined ? {} : { field: told.field }),
    ...(told?.remedy === undefined ? {} : { remedy: told.remedy }),
    ...(told?.details === undefined ? {} : { details: told.details }),
  });
}

function whyRefused(error: unknown): 'removed' | 'refused' | 'unreachable' {
  if (!(error instanceof PortolanError)) return 'refused';
  if (error.code === 'forbidden' && error.details?.['removed'] === true) return 'removed';
  return error.code === 'unavailable' ? 'unreachable' : 'refused';
}

function noMasters(): PortolanError {
  return new PortolanError('unavailable', 'Cannot register: no master is configured', {
    field: 'masters',
    remedy: 'name the masters in the configuration of the agent',
  });
}
