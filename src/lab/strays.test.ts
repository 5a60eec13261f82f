import { describe, expect, it } from 'vitest';
import { isDaemon } from './strays.ts';

describe('isDaemon', () => {
  it.each([
    ['node --v8-pool-size=1 /x/dist/main.js master --config /etc/portolan/master.yaml', true],
    ['nsenter --net=/run/netns/a -- /x/bin/portolan agent --config /etc/portolan/agent.yaml', true],
    ['/usr/sbin/dockerd --data-root /var/lib/docker', true],
    ['node /x/dist/lab/proxy.js 40000 /run/api.sock', true],
    ['node /x/dist/main.js lab up --lab a', false],
    ['busybox httpd -f -p 80', false],
    ['', false],
  ])('%s: %s', (argv, expected) => {
    expect(isDaemon(argv.split(' '))).toBe(expected);
  });
});
