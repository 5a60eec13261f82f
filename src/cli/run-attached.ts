/** Another program in this one's place: with this terminal, and its exit status. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Resolves to its exit status. */
export function runAttached(words: readonly string[]): Promise<number> {
  const [program = '', ...args] = words;
  process.on('SIGINT', () => undefined); // It is the command's to obey.
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}

/** What follows is the command's, also what looks like an option; a `--` before it is only a mark. */
export function commandOf(words: readonly string[]): readonly string[] {
  return words[0] === '--' ? words.slice(1) : words;
}
