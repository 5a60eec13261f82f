/**
 * Runs a program that starts another in a container (`runc exec`, `docker exec`), with this process's terminal.
 *
 * What could not be started is said in words, with the exit status that shells and Docker have for it: 127 where there is no
 * such program, 126 where it cannot be run. runc logs a line of its own for that and exits with 255, Docker writes one where
 * the program would have written and exits with 126: both are told from a program's by how they begin, and only what begins
 * so is held back until the end.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { Option } from 'commander';
import { PortolanError } from '../base/errors.ts';

const NOT_FOUND = 127;
const NOT_RUNNABLE = 126;
/** What a refusal takes, and more. */
const HELD_BYTES_MAX = 8192;
/** runc's log line, or Docker's words around it. */
const REFUSAL = /^(time="[^"]*" level=error msg=")?(OCI runtime exec failed: )?exec failed: /;
const WHY = /(?<!runtime )exec failed: (?:unable to start container process: )?(?:exec: )?(.*)/s;
const MISSING = /executable file not found|no such file or directory/;

export interface ExecOutcome {
  /** As a shell would say it. */
  readonly status: number;
  /** Why the program was not started. */
  readonly problem?: string;
}

/** `refusal`: what runc or Docker said of a program that they did not start; `undefined` = that is nothing of the kind. */
export function execRefusal(refusal: string): ExecOutcome | undefined {
  if (!REFUSAL.test(refusal)) return undefined;
  const why = WHY.exec(refusal.replaceAll(String.raw`\"`, '"'))?.[1] ?? refusal;
  const problem = why.replace(/"?\s*$/, '').replace(/: unknown$/, '');
  return { status: MISSING.test(problem) ? NOT_FOUND : NOT_RUNNABLE, problem };
}

export interface TerminalOptions {
  readonly tty?: true;
}

/** It is what users of `docker exec` type; standard input is always handed on. */
export function interactiveOption(): Option {
  return new Option('-i, --interactive', 'hand on standard input, as is always done').hideHelp();
}

export function terminalOption(): Option {
  return new Option('-t, --tty', 'give it a terminal (default: where this has one)');
}

/** Whether the program gets a terminal; one that is asked for must be there. */
export function wantsTerminal({ tty }: TerminalOptions): boolean {
  const hasTerminal = process.stdin.isTTY && process.stdout.isTTY;
  if (tty === true && !hasTerminal)
    throw new PortolanError('invalid', 'Cannot give the program a terminal: this has none', {
      field: '--tty',
      remedy: 'leave out -t where input or output is a file or a pipe',
    });
  return hasTerminal;
}

/** What follows is the command's, also what looks like an option; a `--` before it is only a mark. */
export function commandOf(words: readonly string[]): readonly string[] {
  return words[0] === '--' ? words.slice(1) : words;
}

/** The exit status of a command that was run with `way` in front, where it could not be started after saying why. */
export async function execInContainer(
  way: readonly string[],
  command: readonly string[],
  container: string,
): Promise<number> {
  const { status, problem } = await execAttached([...way, ...command]);
  if (problem !== undefined)
    process.stderr.write(`portolan: Cannot run "${command[0] ?? ''}" in "${container}": ${problem}\n`);
  return status;
}

/** Resolves when the program has ended, or could not be started. */
function execAttached(words: readonly string[]): Promise<ExecOutcome> {
  const [program = '', ...args] = words;
  // Docker tells on the standard output; a terminal is the program's own.
  const output = process.stdout.isTTY ? 'inherit' : 'pipe';
  // Ctrl-C reaches the command through the terminal; this process stays to hand on its status.
  const ignore = (): void => undefined;
  process.on('SIGINT', ignore);
  const outcome = new Promise<ExecOutcome>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['inherit', output, 'pipe'] });
    const helds = [passOn(child.stdout, process.stdout), passOn(child.stderr, process.stderr)];
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const status = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      const refusals = helds.map((held) => (status === 0 ? undefined : execRefusal(held.text)));
      for (const [i, held] of helds.entries()) if (refusals[i] === undefined) held.release();
      resolve(refusals.find((each) => each !== undefined) ?? { status });
    });
  });
  return outcome.finally(() => process.off('SIGINT', ignore));
}

interface Held {
  readonly text: string;
  release(): void;
}

/** Hands on what comes, except for what may be a refusal, which is all of it up to a size. */
function passOn(from: Readable | null, to: Writable): Held {
  let text = '';
  const release = (): void => {
    if (text !== '') to.write(text);
    text = '';
  };
  const hold = (bytes: Buffer): void => {
    text += String(bytes);
    if (text.length < HELD_BYTES_MAX && REFUSAL.test(text)) return;
    from?.off('data', hold);
    release();
    from?.pipe(to, { end: false });
  };
  from?.on('data', hold);
  return {
    get text() {
      return text;
    },
    release,
  };
}
