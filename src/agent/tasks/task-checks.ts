/**
 * The health and readiness checks of one running task: when each is made, and what came of it.
 *
 * One check of a kind at a time: an answer that is late puts the next check off. A health check goes on until the task
 * ends, a readiness check until the task is ready.
 */
import { countAnswer, type CheckResult } from '../../apps/health.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import type { HealthCheck, ReadinessCheck, TaskHealth, TaskLaunch, TaskRecord } from '../../model/task.ts';
import type { Containerizer, TaskContainer } from '../../runtime/containerizer.ts';
import { judgeStatus, probeHttp, probeTcp, type ProbeComponents, type ProbeTarget } from './probes.ts';

export interface TaskChecksComponents extends ProbeComponents {
  readonly clock: Clock;
}

export interface TaskChecksInit {
  readonly launch: TaskLaunch;
  readonly containerizer: Containerizer;
  readonly container: TaskContainer;
  /** Of this agent, where host ports are. */
  readonly agentIp: () => string;
  record(): TaskRecord;
  onHealth(health: TaskHealth, kill: boolean): void;
  onReadiness(ready: boolean): void;
}

/** An answer soon after the start is worth more than a regular rhythm: a task without delay is asked at once. */
const READINESS_FIRST_MS = 0;

export class TaskChecks {
  readonly #components: TaskChecksComponents;
  readonly #init: TaskChecksInit;
  readonly #timers = new Set<Timer>();
  #ended = false;

  constructor(components: TaskChecksComponents, init: TaskChecksInit) {
    this.#components = components;
    this.#init = init;
  }

  start(): void {
    const { launch } = this.#init;
    for (const [i, check] of launch.health_checks.entries()) {
      const sinceStartMs = this.#components.clock.wallMs() - this.#startedMs();
      this.#later(Math.max(0, check.delay_s * 1000 - sinceStartMs), () => this.#checkHealth(i, check));
    }
    for (const check of launch.readiness_checks)
      this.#later(READINESS_FIRST_MS, () => this.#checkReadiness(check));
  }

  stop(): void {
    this.#ended = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #later(delayMs: number, action: () => Promise<void>): void {
    if (this.#ended) return;
    const timer = this.#components.clock.after(delayMs, () => {
      this.#timers.delete(timer);
      void action();
    });
    this.#timers.add(timer);
  }

  #startedMs(): number {
    const { started_at } = this.#init.record();
    return started_at === undefined ? this.#components.clock.wallMs() : Date.parse(started_at);
  }

  async #checkHealth(i: number, check: HealthCheck): Promise<void> {
    const { clock } = this.#components;
    const beganMs = clock.nowMs();
    const result = await this.#ask(check);
    if (this.#ended) return;
    const before = this.#init.record().health.find(({ index }) => index === i);
    const times = { startedMs: this.#startedMs(), nowMs: clock.wallMs() };
    const { health, kill } = countAnswer(i, check, before, result, times);
    if (health !== undefined) this.#init.onHealth(health, kill);
    const tookMs = clock.nowMs() - beganMs;
    this.#later(Math.max(0, check.interval_s * 1000 - tookMs), () => this.#checkHealth(i, check));
  }

  async #checkReadiness(check: ReadinessCheck): Promise<void> {
    const { clock } = this.#components;
    const beganMs = clock.nowMs();
    const { path, port, protocol, timeout_s, ready_codes } = check;
    const probe = { target: this.#outside(port, 'IPv4'), secure: protocol === 'HTTPS', path };
    const status = await probeHttp(this.#components, { ...probe, timeoutMs: timeout_s * 1000 }).then(
      (answer) => answer.status,
      () => undefined,
    );
    if (this.#ended) return;
    const ready = status !== undefined && ready_codes.includes(status);
    this.#init.onReadiness(ready);
    const tookMs = clock.nowMs() - beganMs;
    if (!ready) this.#later(Math.max(0, check.interval_s * 1000 - tookMs), () => this.#checkReadiness(check));
  }

  async #ask(check: HealthCheck): Promise<CheckResult> {
    try {
      return await this.#answer(check);
    } catch (error) {
      return { ok: false, cause: error instanceof Error ? error.message : String(error) };
    }
  }

  async #answer(check: HealthCheck): Promise<CheckResult> {
    const timeoutMs = check.timeout_s * 1000;
    const { protocol, path = '/' } = check;
    switch (protocol) {
      case 'COMMAND': {
        const { containerizer, container } = this.#init;
        const { exitCode, output } = await containerizer.exec(container.id, check.command ?? '', {
          timeoutMs,
        });
        if (exitCode === 0) return { ok: true };
        return { ok: false, cause: `command exited with status ${exitCode}: ${output.trim()}` };
      }
      case 'TCP':
      case 'MESOS_TCP':
        await probeTcp(this.#components, this.#target(check), timeoutMs);
        return { ok: true };
      case 'HTTP':
      case 'HTTPS':
      case 'MESOS_HTTP':
      case 'MESOS_HTTPS': {
        const secure = protocol.endsWith('HTTPS');
        const probe = { target: this.#target(check), secure, path, timeoutMs };
        return judgeStatus((await probeHttp(this.#components, probe)).status);
      }
    }
  }

  #target({ protocol, port = 0, ip_protocol }: HealthCheck): ProbeTarget {
    if (!protocol.startsWith('MESOS_')) return this.#outside(port, ip_protocol);
    const { netns } = this.#init.container;
    const host = ip_protocol === 'IPv6' ? '::1' : '127.0.0.1';
    return { host, port: this.#insidePort(port), ...(netns === undefined ? {} : { netns }) };
  }

  /** Where clients of the task go: a host port is on the agent's address, a container port on the task's own. */
  #outside(port: number, family: HealthCheck['ip_protocol']): ProbeTarget {
    const { launch } = this.#init;
    const mapping = launch.ports.find(({ container_port }) => container_port === port);
    const isHostPort = launch.ports.some(({ host_port }) => host_port === port);
    const addresses = this.#init
      .record()
      .networks.flatMap(({ mode, name = '', addresses: each }) =>
        mode === 'host' || mapping?.networks?.includes(name) === false ? [] : each,
      );
    const own = addresses.find((address) => address.includes(':') === (family === 'IPv6'));
    const direct = own !== undefined && (mapping !== undefined || !isHostPort);
    return { host: direct ? own : this.#init.agentIp(), port };
  }

  /** A launch may name the host port where the task itself listens on the container's. */
  #insidePort(port: number): number {
    const { launch, container } = this.#init;
    if (container.netns === undefined) return port;
    if (launch.ports.some(({ container_port }) => container_port === port)) return port;
    return launch.ports.find(({ host_port }) => host_port === port)?.container_port ?? port;
  }
}
