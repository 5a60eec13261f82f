/** The command line of the long run. */

export const usage = `usage: npm run sim:long [-- options]

  --file FILE    where what is done is kept (default docs/simulated.jsonl)
  --only TEXT    only runs whose options contain it, as "stall --nodes 100 "
  --again        forget what is done
  --write        make the tables in docs/benchmarks.md anew in the end
  --table        run nothing, only show what is done`;

export type LongOptions =
  | {
      readonly is: 'options';
      readonly file: string | undefined;
      readonly only: string;
      readonly isAgain: boolean;
      readonly isWritten: boolean;
      readonly isOnlyShown: boolean;
    }
  | { readonly is: 'wrong'; readonly reason: string };

const VALUED = ['--file', '--only'];
const FLAGS = ['--again', '--write', '--table'];

export function parseLongOptions(args: readonly string[]): LongOptions {
  const given = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const name = args[i] ?? '';
    const isValued = VALUED.includes(name);
    if (!isValued && !FLAGS.includes(name)) return { is: 'wrong', reason: `no such option "${name}"` };
    const value = isValued ? args[++i] : '';
    if (value === undefined) return { is: 'wrong', reason: `"${name}" needs a value` };
    given.set(name, value);
  }
  return {
    is: 'options',
    file: given.get('--file'),
    only: given.get('--only') ?? '',
    isAgain: given.has('--again'),
    isWritten: given.has('--write'),
    isOnlyShown: given.has('--table'),
  };
}
