/**
 * Launch back-off (the reference "Marathon", section 4): each task that fails or finishes by itself makes the next wait
 * longer. By app and configuration: another configuration starts anew.
 */
import type { App } from '../model/app.ts';

interface Delay {
  readonly config: string;
  readonly seconds: number;
  /** Monotonic ms. */
  readonly untilMs: number;
}

type BackOff = Pick<App, 'id' | 'backoffSeconds' | 'backoffFactor' | 'maxLaunchDelaySeconds'>;

export class LaunchDelays {
  readonly #delays = new Map<string, Delay>();

  /** A task of that configuration ended by itself. */
  failed(app: BackOff, config: string, nowMs: number): void {
    const before = this.#current(app, config, nowMs);
    const wanted = before === undefined ? app.backoffSeconds : before.seconds * app.backoffFactor;
    const seconds = Math.min(wanted, app.maxLaunchDelaySeconds);
    this.#delays.set(app.id, { config, seconds, untilMs: nowMs + seconds * 1000 });
  }

  /** Ms until the next may be launched; 0 = now. */
  leftMs(app: BackOff, config: string, nowMs: number): number {
    return Math.max(0, (this.#current(app, config, nowMs)?.untilMs ?? nowMs) - nowMs);
  }

  /** False = there was none. */
  reset(app: string): boolean {
    return this.#delays.delete(app);
  }

  /** One that is over for longer than the longest one could last is forgotten: what ran so long does not fail. */
  #current(app: BackOff, config: string, nowMs: number): Delay | undefined {
    const delay = this.#delays.get(app.id);
    if (delay === undefined || delay.config !== config) return undefined;
    return nowMs - delay.untilMs > app.maxLaunchDelaySeconds * 1000 ? undefined : delay;
  }
}
