import { describe, expect, it } from 'vitest';
import { findEnd, parseTarget } from './ends.ts';

const nobody = { tasks: () => [], nodes: () => [] };

describe('the ends of a trace', () => {
  it('are names or addresses, with a port or without', () => {
    expect(parseTarget('web:80')).toEqual({ host: 'web', port: 80 });
    expect(parseTarget('web')).toEqual({ host: 'web', port: undefined });
    expect(parseTarget('9.0.1.2:80')).toEqual({ host: '9.0.1.2', port: 80 });
    expect(parseTarget('[fd01:b::2]:80')).toEqual({ host: 'fd01:b::2', port: 80 });
    expect(parseTarget('fd01:b::2')).toEqual({ host: 'fd01:b::2', port: undefined });
  });

  it.each([
    '',
    ':80',
    'web:',
    'web:0',
    'web:http',
    'web:70000',
    'web:80:80',
    '[fd01::zz]:80',
    '[9.0.1.2]:80',
  ])('are refused where they cannot be read: "%s"', (text) =>
    expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code: 'invalid', field: 'to' })),
  );

  it.each(['0.0.0.0:80', '255.255.255.255', '224.0.0.1:80', '[::]:80', '[ff02::1]:80'])(
    'are refused where nobody is meant: %s',
    (text) => expect(() => parseTarget(text)).toThrow('the address of no single host'),
  );

  it('are named where nobody has that name', () => {
    expect(() => findEnd(nobody, 'from', '')).toThrow('Cannot find "": it is no container, task or host');
  });
});
