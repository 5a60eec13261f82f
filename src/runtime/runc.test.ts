import { describe, expect, it } from 'vitest';
import { ociConfig } from './oci.ts';
import { hostsFile } from './rootfs.ts';
import { programStatus, runcReason } from './runc.ts';

describe('runcReason', () => {
  it("finds the reason in runc's last log line", () => {
    const line =
      'time="2026-11-21T01:25:48Z" level=error msg="runc create failed: unable to start container process: exec: \\"nonesuch\\": executable file not found in $PATH"\n';
    expect(runcReason(line)).toBe('exec: "nonesuch": executable file not found in $PATH');
  });

  it('passes on what is not a log line', () => {
    expect(runcReason('container with given ID already exists')).toBe(
      'container with given ID already exists',
    );
    expect(runcReason('')).toBe('conmon has ended');
  });
});

describe('programStatus', () => {
  it.each([
    ['exec: "nonesuch": executable file not found in $PATH', 127],
    ['exec: "/nonesuch": stat /nonesuch: no such file or directory', 127],
    ['exec: "/etc/passwd": permission denied', 126],
    ['error mounting "/x": no such file or directory', undefined],
  ])('of %j', (reason, status) => {
    expect(programStatus(reason)).toBe(status);
  });
});

describe('ociConfig', () => {
  const config = JSON.stringify(
    ociConfig({
      rootfs: '/r',
      hostname: 'web',
      argv: ['httpd'],
      env: { PATH: '/only' },
      cwd: '/',
      terminal: false,
      netns: '/run/portolan/netns/x',
      cgroup: '/portolan/x',
      hidden: ['/var/lib/portolan/agent'],
    }),
  );

  it('enters the network namespace that was attached', () => {
    expect(config).toContain('{"type":"network","path":"/run/portolan/netns/x"}');
  });

  it("hides the agent's state and lets the caller's environment win", () => {
    expect(config).toContain('"/sys/firmware","/var/lib/portolan/agent"]');
    expect(config).toContain('"PATH=/only"');
  });

  it('gives no capability to change the network', () => {
    expect(config).not.toContain('CAP_NET_ADMIN');
    expect(config).not.toContain('CAP_SYS_ADMIN');
  });
});

it('names the container in its own /etc/hosts', () => {
  expect(hostsFile({ hostname: 'web', addresses: ['9.0.1.2'] })).toContain('9.0.1.2\tweb\n');
});
