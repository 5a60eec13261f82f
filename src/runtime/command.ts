/** Running another program to its end, with a limit on its time and on what it may print. */
import { spawn } from 'node:child_process';
import { PortolanError } from '../base/errors.ts';

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly onStart?: (pid: number) => void;
}

export interface CommandResult {
  /** 128 + signal number when a signal ended it, as shells say it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Output beyond this is cut: no tool that we run prints more on purpose. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const KILLED_STATUS = 137;

/** Runs a program; a non-zero exit is a result, not a failure. Rejects when it cannot be started or takes too long. */
export function runCommand(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      signal,
      killSignal: 'SIGKILL',
      ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
    });
    if (child.pid !== undefined) options.onStart?.(child.pid);
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    child.stdin.on('error', () => undefined); // A program that ends without reading its input is no failure of ours.
    child.stdin.end(options.input ?? '');
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(startFailure(program, error, deadline.aborted ? options.timeoutMs : undefined)),
    );
    child.once('close', (code) =>
      resolve({ status: code ?? KILLED_STATUS, stdout: stdout(), stderr: stderr() }),
    );
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_OUTPUT_BYTES) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

function startFailure(program: string, error: NodeJS.ErrnoException, overMs: number | undefined): Error {
  if (error.code === 'ENOENT')
    return new PortolanError('unavailable', `Cannot run "${program}": the program is not installed`, {
      remedy: `install the package that holds "${program}" (scripts/setup.sh does)`,
      cause: error,
    });
  if (overMs !== undefined)
    return new PortolanError('unavailable', `Cannot finish "${program}": no end within ${overMs} ms`, {
      cause: error,
    });
  return error;
}

/** Runs a program that must succeed; resolves to its output. */
export async function mustRun(argv: readonly string[], options: CommandOptions): Promise<string> {
  const result = await runCommand(argv, options);
  if (result.status !== 0)
    throw new PortolanError(
      'internal',
      `Cannot run "${argv.slice(0, 4).join(' ')}": exit status ${result.status}: ${lastLine(result.stderr)}`,
      { details: { argv, stderr: result.stderr.slice(-4096) } },
    );
  return result.stdout;
}

/** Tools print the reason last. */
export function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.trim() ?? '';
}
