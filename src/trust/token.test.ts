import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { formatToken, isSecret, newToken, parseInvitation, parseToken, secretHash } from './token.ts';

const token = newToken(seededRandom(1), Buffer.alloc(32, 7));
const text = formatToken(token);

describe('a join token', () => {
  it('is read back from its text', () => {
    expect(parseToken(text)).toEqual(token);
    expect(parseInvitation(`${text}@10.0.0.1:5050`)).toEqual({ token, master: '10.0.0.1:5050' });
    expect(parseInvitation(`${text}@[fd00::1]:5050`).master).toBe('[fd00::1]:5050');
  });

  it('that was cut or mistyped is told from one that is refused', () => {
    const mistyped = text.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'));
    for (const bad of [text.slice(0, -1), mistyped, text.slice(4), ''])
      expect(() => parseInvitation(`${bad}@10.0.0.1:5050`)).toThrow('cut or mistyped');
    for (const bad of [text, `${text}@`, `${text}@10.0.0.1`, `${text}@a b:x`, '@'])
      expect(() => parseInvitation(bad)).toThrow('not TOKEN@HOST:PORT');
  });

  it('never gets into an error', () => {
    for (const bad of [`${text}@`, `${text}x@10.0.0.1:5050`])
      expect(() => parseInvitation(bad)).toThrow(expect.not.stringContaining(text.slice(4, 20)) as string);
  });

  it('is not read from what is none', () => {
    fc.assert(fc.property(fc.string(), (any) => parseToken(`pt1_${any}`) === undefined));
  });

  it('is stored as a hash', () => {
    const hash = secretHash(token.secret);
    expect(hash).not.toContain(token.secret);
    expect(isSecret(token.secret, hash)).toBe(true);
    expect(isSecret(newToken(seededRandom(2), token.fingerprint).secret, hash)).toBe(false);
    expect(isSecret('', hash)).toBe(false);
  });
});
