import { expect, it } from 'vitest';
import { summary } from './dns.ts';

const answer = { rcode: 'SERVFAIL', source: 'upstream', took_ms: 1, answers: [] } as const;

it.each([
  ['.', ['10.0.0.2:53'], 'an upstream (10.0.0.2:53), or its answer kept'],
  [
    'corp.example',
    ['10.0.0.2:53', '10.0.0.3:53'],
    'an upstream of the forward zone corp.example (10.0.0.2:53, 10.0.0.3:53), or its answer kept',
  ],
  ['.', undefined, 'an upstream, or its answer kept'],
  ['.', [], 'nobody: the host has no upstream for it, name one in its /etc/resolv.conf or in dns.upstreams'],
])('says of a name that is not of the cluster who is asked for it: %s %j', (zone, upstreams, from) => {
  const told = summary({ ...answer, zone, ...(upstreams === undefined ? {} : { upstreams }) });
  expect(told).toBe(`SERVFAIL; from ${from}; 1 ms`);
});
