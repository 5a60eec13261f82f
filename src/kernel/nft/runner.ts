/**
 * Runs the `nft` program: scripts on its standard input, listings as JSON.
 *
 * nft's text is the only documented interface to rules (knftables decided the same); the process costs about 20 ms and
 * works off the event loop. Errors carry the first line of nft's message; those of the kernel keep their errno.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { PortolanError } from '../../base/errors.ts';
import { errnoNumber } from '../errno.ts';
import { nextTurn } from '../netlink/socket.ts';
import { KernelError, type ErrnoCode } from '../types.ts';

/** A transaction or listing that takes longer is given up, as a hung kernel call must not stop reconciliation. */
const TIMEOUT_MS = 15_000;
/** nft needs about 17 us per element here; ten times that is allowed on top. */
const TIMEOUT_PER_ELEMENT_MS = 0.2;
/** A table with 100,000 elements lists as 10 MB of JSON. */
const OUTPUT_LIMIT_BYTES = 256 << 20;
const ERRORS_LIMIT_BYTES = 64 << 10;

export interface NftRunner {
  /** Runs the pieces of a script as one transaction; `elements` stretches the time allowed. */
  script(pieces: Iterable<string>, options?: { readonly elements?: number }): Promise<void>;
  /** `nft -j ARGS`, parsed. */
  json(args: readonly string[]): Promise<unknown>;
}

export interface NftRunnerInit {
  /** The program, by name or path; default `nft` from PATH or the sbin directories. */
  readonly program?: string;
  readonly timeoutMs?: number;
  /** Is told the process id of every `nft` started. */
  readonly onStart?: (processId: number) => void;
}

export function createNftRunner({
  program = 'nft',
  timeoutMs = TIMEOUT_MS,
  onStart = () => undefined,
}: NftRunnerInit = {}): NftRunner {
  return {
    script: async (pieces, { elements = 0 } = {}) => {
      const limitMs = timeoutMs + elements * TIMEOUT_PER_ELEMENT_MS;
      await run(program, ['-f', '-'], pieces, limitMs, 'Changing nftables', onStart);
    },
    json: async (args) => {
      const text = await run(
        program,
        ['-j', ...args],
        [],
        timeoutMs,
        `Listing nftables ("${args.join(' ')}")`,
        onStart,
      );
      return text.trim() === '' ? { nftables: [] } : (JSON.parse(text) as unknown);
    },
  };
}

/** Root's PATH lacks the sbin directories under some supervisors. */
const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
  LC_ALL: 'C',
});

function run(
  program: string,
  args: readonly string[],
  input: Iterable<string>,
  timeoutMs: number,
  action: string,
  onStart: (processId: number) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: environment(), stdio: ['pipe', 'pipe', 'pipe'] });
    if (child.pid !== undefined) onStart(child.pid);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const output = collect(child.stdout, OUTPUT_LIMIT_BYTES, child);
    const errors = collect(child.stderr, ERRORS_LIMIT_BYTES);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(
        new PortolanError('unavailable', `${action}: starting "${program}" failed`, {
          cause,
          remedy: 'install the nftables package',
        }),
      );
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(output());
      else reject(failure(action, code === null ? `killed by ${signal}` : errors(), timeoutMs));
    });
    // What cannot be rendered must not half run: nft executes at the end of its input, which then never comes.
    feed(child, input).catch((error: unknown) => {
      child.kill('SIGKILL');
      reject(error as Error);
    });
  });
}

/** Gathers a stream up to `limit` bytes; past it the rest is dropped and `child`, where given, is ended. */
function collect(stream: NodeJS.ReadableStream, limit: number, child?: ChildProcess): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
    else child?.kill('SIGKILL');
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** Writes piece by piece, waiting for the pipe, so that other work runs in between. A closed pipe shows in the exit. */
async function feed(child: ChildProcess, pieces: Iterable<string>): Promise<void> {
  const stdin = child.stdin;
  if (stdin === null) return;
  stdin.on('error', () => stdin.destroy());
  for (const piece of pieces) {
    if (stdin.destroyed) return;
    if (!stdin.write(piece)) await drained(stdin);
    // The pipe may drain within the same turn, for as long as nft keeps up.
    await nextTurn();
  }
  stdin.end();
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    stream.once('drain', resolve);
    stream.once('close', resolve);
  });
}

/** strerror texts of the kernel's answers, as nft prints them after the last colon. */
const ERRNO_BY_TEXT: Readonly<Record<string, Exclude<ErrnoCode, 'other'>>> = {
  'Operation not permitted': 'EPERM',
  'No such file or directory': 'ENOENT',
  'Interrupted system call': 'EINTR',
  'Resource temporarily unavailable': 'EAGAIN',
  'Cannot allocate memory': 'ENOMEM',
  'Device or resource busy': 'EBUSY',
  'File exists': 'EEXIST',
  'Invalid argument': 'EINVAL',
  'Too many open files in system': 'ENFILE',
  'Too many open files': 'EMFILE',
  'No space left on device': 'ENOSPC',
  'Numerical result out of range': 'ERANGE',
  'No buffer space available': 'ENOBUFS',
  'Operation not supported': 'EOPNOTSUPP',
};

function failure(action: string, message: string, timeoutMs: number): Error {
  const line = message.split('\n', 1)[0]?.trim() ?? '';
  if (message.startsWith('killed by'))
    return new PortolanError(
      'unavailable',
      `${action}: nft was ${line} (limit ${Math.round(timeoutMs)} ms)`,
      {
        remedy: 'it is tried again; see whether the machine is overloaded',
      },
    );
  const reason =
    /(?:^|: )(?:Error: )?(?:Could not process rule: )?([A-Z][a-z ]+)(?:;.*)?$/.exec(line)?.[1] ?? '';
  const known = ERRNO_BY_TEXT[reason];
  return known === undefined
    ? new PortolanError('internal', `${action}: ${line === '' ? 'nft gave no reason' : line}`)
    : new KernelError(`${action}: ${line}`, errnoNumber(known), known);
}
