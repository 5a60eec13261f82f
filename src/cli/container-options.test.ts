import { describe, expect, it } from 'vitest';
import { collectLabel, collectPort } from './container-options.ts';

describe('--publish', () => {
  it('collects mappings, TCP unless said otherwise', () => {
    expect(collectPort('53:5353/udp', collectPort('8080:80', []))).toEqual([
      { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
      { hostPort: 53, containerPort: 5353, protocol: 'udp' },
    ]);
  });

  it('takes an address of the host, as docker does', () => {
    expect(collectPort('[fd01::1]:53:53', collectPort('127.0.0.1:8080:80/TCP', []))).toEqual([
      { hostIP: '127.0.0.1', hostPort: 8080, containerPort: 80, protocol: 'tcp' },
      { hostIP: 'fd01::1', hostPort: 53, containerPort: 53, protocol: 'tcp' },
    ]);
  });

  it.each(['', '80', '0:80', '80:65536', 'a:b', '80:80/icmp', '1:2:3', '10.0.0.256:1:2', '[::1:1:2'])(
    'refuses "%s"',
    (text) => {
      expect(() => collectPort(text, [])).toThrowError(/hostPort:containerPort/);
    },
  );
});

describe('--label', () => {
  it('collects pairs; the last of a key wins, and a value may hold "="', () => {
    expect(collectLabel('a=x=y', collectLabel('b=1', { b: '0' }))).toEqual({ b: '1', a: 'x=y' });
  });

  it.each(['', '=x', 'novalue'])('refuses "%s"', (text) => {
    expect(() => collectLabel(text, {})).toThrowError(/key=value/);
  });
});
