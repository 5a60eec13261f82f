import { describe, expect, it } from 'vitest';
import { matchesEtag } from './etag.ts';

describe('matchesEtag', () => {
  it.each([
    [undefined, false],
    ['"a"', true],
    ['W/"a"', true],
    ['"b"', false],
    ['"b", "a"', true],
    ['"b",W/"a" , "c"', true],
    ['"b, a"', false],
    ['"b,c", "a"', true],
    [' * ', true],
    ['"b", *', false],
    ['a', false],
    ['', false],
    [',,', false],
    ['"a', false],
  ])('says of %s whether it names the tag', (header, expected) => {
    expect(matchesEtag(header, '"a"')).toBe(expected);
  });
});
