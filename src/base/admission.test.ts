import { expect, it } from 'vitest';
import { Admission } from './admission.ts';

it('Admission bounds those at the door, of each host and in all', () => {
  const admission = new Admission({ max: 3, maxPerHost: 2 });
  expect(['a', 'a', 'a', 'b', 'c'].map((host) => admission.begin(host))).toEqual([
    true,
    true,
    false,
    true,
    false,
  ]);
  admission.end('a');
  expect(admission.begin('c')).toBe(true);
  for (const host of ['a', 'b', 'c']) admission.end(host);
  expect(['b', 'b', 'b'].map((host) => admission.begin(host))).toEqual([true, true, false]);
});
