/** A containerizer in memory: what it is told, it does at once, or fails, or leaves half done until it is told more. */
import { PortolanError } from '../base/errors.ts';
import type { TaskLaunch } from '../model/task.ts';
import type {
  Containerizer,
  ContainerOrder,
  ExecResult,
  LaunchOptions,
  TaskContainer,
} from './containerizer.ts';

export class FakeContainerizer implements Containerizer {
  readonly runtime: TaskLaunch['runtime'];
  /** `<verb> <task>`, in order. */
  readonly calls: string[] = [];
  readonly containers = new Map<string, TaskContainer>();
  /** Rejects every call, as a runtime does that does not run. */
  down = false;
  /** Why it cannot work; absent = it can. */
  trouble: string | undefined;
  /** Rejects the next launch. */
  refusal: Error | undefined;
  /** Rejects every launch. */
  refuses: Error | undefined;
  /** Launches wait until this is called; absent = they do not. */
  hold: Promise<void> | undefined;
  /** Programs that go on after SIGTERM. */
  stubborn = false;
  /** The file of what each container has written. */
  log = '/nowhere';
  /** What commands in containers end with. */
  execStatus = 0;

  constructor(runtime: TaskLaunch['runtime'] = 'mesos') {
    this.runtime = runtime;
  }

  problem(): Promise<string | undefined> {
    return Promise.resolve(this.trouble);
  }

  async launch(order: ContainerOrder, options: LaunchOptions): Promise<TaskContainer> {
    this.calls.push(`launch ${order.launch.id}`);
    options.starting(order.id);
    await this.hold;
    options.signal.throwIfAborted();
    const refusal = this.refusal ?? this.refuses;
    this.refusal = undefined;
    if (refusal !== undefined) throw refusal;
    const container: TaskContainer = {
      id: order.id,
      task: order.launch.id,
      runtimeId: order.id,
      state: 'running',
      outOfMemory: false,
      networks: order.launch.networks.map(({ mode, name }) => ({
        mode,
        ...(name === undefined ? {} : { name }),
        addresses: mode === 'host' ? [] : ['9.0.0.2'],
      })),
    };
    this.containers.set(order.id, container);
    return container;
  }

  find(id: string): Promise<TaskContainer | undefined> {
    return this.#answer(() => this.containers.get(id));
  }

  list(): Promise<readonly TaskContainer[]> {
    return this.#answer(() => [...this.containers.values()]);
  }

  signal(id: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    return this.#call(signal, id, () => {
      if (signal === 'SIGKILL' || !this.stubborn) this.end(id, signal === 'SIGKILL' ? 137 : 143);
    });
  }

  release(id: string): Promise<void> {
    return this.#call('release', id, () => undefined);
  }

  remove(id: string): Promise<void> {
    return this.#call('remove', id, () => this.containers.delete(id));
  }

  logPath(): Promise<string> {
    return Promise.resolve(this.log);
  }

  exec(): Promise<ExecResult> {
    return Promise.resolve({ exitCode: this.execStatus, output: '' });
  }

  execWords(): Promise<readonly string[]> {
    return Promise.resolve(['true']);
  }

  /** The program ends by itself. */
  end(id: string, exitCode: number, outOfMemory = false): void {
    const container = this.containers.get(id);
    if (container !== undefined && container.state === 'running')
      this.containers.set(id, { ...container, state: 'ended', exitCode, outOfMemory });
  }

  async #call(verb: string, id: string, action: () => unknown): Promise<void> {
    this.calls.push(`${verb} ${this.containers.get(id)?.task ?? id}`);
    await this.#answer(action);
  }

  #answer<T>(action: () => T): Promise<T> {
    if (this.down) return Promise.reject(new PortolanError('unavailable', 'The runtime does not answer'));
    return Promise.resolve(action());
  }
}
