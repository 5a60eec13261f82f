import { expect, it } from 'vitest';
import { parseLongOptions } from './long-options.ts';

it('keeps what is done in the file given, of the runs asked for', () => {
  expect(parseLongOptions(['--file', 'done.jsonl', '--only', 'stall', '--write'])).toEqual({
    is: 'options',
    file: 'done.jsonl',
    only: 'stall',
    isAgain: false,
    isWritten: true,
    isOnlyShown: false,
  });
});

it.each([
  [['--fast'], 'no such option "--fast"'],
  [['--table', '--file'], '"--file" needs a value'],
])('refuses %j', (args, reason) => {
  expect(parseLongOptions(args)).toEqual({ is: 'wrong', reason });
});
