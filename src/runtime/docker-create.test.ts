import { describe, expect, it } from 'vitest';
import { launchOf } from '../model/task-fake.ts';
import { createContainerBody } from './docker-create.ts';

const body = (change: Readonly<Record<string, unknown>>, network = 'dcos') =>
  createContainerBody({
    launch: launchOf('t1', {
      runtime: 'docker',
      shell: undefined,
      image: { name: 'nginx', force_pull: false },
      resources: { cpus: 1.5, mem_mib: 16, disk_mib: 0, gpus: 0 },
      ...change,
    }),
    network,
    binds: [{ source: '/a', destination: '/b', read_only: true }],
  });

describe('what Docker is asked for', () => {
  it('is the image’s own program, its program with arguments, or a shell in its place', () => {
    expect(body({})).not.toHaveProperty('Cmd');
    expect(body({ argv: ['-t', '1'] })).toMatchObject({ Cmd: ['-t', '1'] });
    expect(body({ shell: 'a && b' })).toMatchObject({ Entrypoint: ['/bin/sh'], Cmd: ['-c', 'a && b'] });
  });

  it('has limits as Mesos computes them, and no less memory than runs at all', () => {
    expect(body({})['HostConfig']).toMatchObject({
      CpuShares: 1536,
      CpuQuota: 150_000,
      CpuPeriod: 100_000,
      Memory: 32 * 1024 * 1024,
      Privileged: false,
    });
    expect(body({ privileged: true })['HostConfig']).toMatchObject({ Privileged: true });
  });

  it('maps ports with a host port, exposes those without, and neither in the host’s network', () => {
    const ports = [
      { protocol: 'tcp', container_port: 80, host_port: 31_000 },
      { protocol: 'udp', container_port: 53 },
    ];
    const bridged = body({ ports });
    expect(bridged['ExposedPorts']).toEqual({ '80/tcp': {}, '53/udp': {} });
    expect(bridged['HostConfig']).toMatchObject({ PortBindings: { '80/tcp': [{ HostPort: '31000' }] } });
    expect(body({ ports }, 'host')).not.toHaveProperty('ExposedPorts');
  });

  it('mounts what must be there already', () => {
    expect(body({})['HostConfig']).toMatchObject({
      Mounts: [{ Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true }],
    });
  });

  it('follows parameters as docker run does, and refuses those that it does not know or cannot read', () => {
    const given = (key: string, value: string) => body({ parameters: [{ key, value }] });
    expect(given('memory', '1g')['HostConfig']).toMatchObject({ Memory: 1024 ** 3 });
    expect(given('v', '/x:/y:ro')['HostConfig']).toMatchObject({ Binds: ['/x:/y:ro'] });
    expect(given('ulimit', 'nofile=10:20')['HostConfig']).toMatchObject({
      Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
    });
    expect(given('label', 'team=net')['Labels']).toMatchObject({ team: 'net', MESOS_TASK_ID: 't1' });
    expect(given('log-driver', 'none')['HostConfig']).toMatchObject({
      LogConfig: { Type: 'none', Config: {} },
    });
    expect(given('cpus', '2')['HostConfig']).toMatchObject({ CpuQuota: 200_000 });
    expect(() => given('restart', 'always')).toThrow(/parameter "restart"/);
    expect(() => given('memory', 'much')).toThrow(/"much" for the parameter "memory"/);
  });
});
