/** Real packets between network namespaces: one small process in each, told what to do over IPC. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const DRIVER = fileURLToPath(new URL('traffic-driver.mjs', import.meta.url));
/** Above the second after which a lost first packet is sent again. */
const TIMEOUT_MS = 4000;

export interface Question {
  readonly to: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp';
  readonly timeoutMs?: number;
}

interface Reply {
  readonly id: number;
  readonly answer?: string;
  readonly error?: string;
}

/** One namespace that serves and asks. */
export class Traffic {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (answer: string) => void; readonly reject: (error: Error) => void }
  >();
  #next = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (reply) => this.#settle(reply as Reply));
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the traffic process ended'));
      this.#waiting.clear();
    });
  }

  static async open(namespacePath: string): Promise<Traffic> {
    const child = spawn('nsenter', [`--net=${namespacePath}`, process.execPath, DRIVER], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const traffic = new Traffic(child);
    await new Promise<string>((resolve, reject) => traffic.#waiting.set(0, { resolve, reject }));
    return traffic;
  }

  /** Serves on `port`, answering with the address that the asker is seen by. */
  async listen(port: number, options: { protocol?: 'tcp' | 'udp'; address?: string } = {}): Promise<void> {
    await this.#do('listen', { protocol: 'tcp', ...options, port });
  }

  /** What the server sees the question come from; `timeout`, or an errno as text, when there is no answer. */
  ask({ protocol = 'tcp', timeoutMs = TIMEOUT_MS, ...question }: Question): Promise<string> {
    return this.#do('ask', { ...question, protocol, timeoutMs });
  }

  /** Opens a TCP connection that stays. */
  async connect(session: string, to: string, port: number): Promise<void> {
    await this.#do('connect', { session, to, port });
  }

  /** Asks over a connection that stayed. */
  say(session: string): Promise<string> {
    return this.#do('say', { session });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    await new Promise((resolve) => {
      this.#child.once('exit', resolve);
      this.#child.disconnect();
    });
  }

  #do(action: string, options: object): Promise<string> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, action, options });
    });
  }

  #settle({ id, answer, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(answer ?? '');
    else waiting?.reject(new Error(error));
  }
}
