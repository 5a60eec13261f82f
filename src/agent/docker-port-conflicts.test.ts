import { expect, it } from 'vitest';
import { ip } from '../base/ip.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { DockerPort, DockerRunning } from '../runtime/types.ts';
import { portConflicts } from './docker-port-conflicts.ts';

function running(port: Partial<DockerPort>): DockerRunning {
  const whole = { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: undefined, ...port } as const;
  return { id: 'd', name: 'theirs', labels: {}, networks: [], ports: [whole] };
}

function holder(hostIP?: string): Endpoint {
  const port = {
    hostPort: 8080,
    containerPort: 80,
    protocol: 'tcp',
    ...(hostIP === undefined ? {} : { hostIP }),
  } as const;
  return {
    container: 'c',
    ifname: 'eth0',
    network: 'dcos',
    source: 'cni',
    name: 'ours',
    addresses: [],
    ports: [port],
    labels: {},
  };
}

it('names both containers of a host port, and who gets the packets', () => {
  expect(portConflicts([running({})], [holder()])).toEqual([
    'container "ours" has host port 8080/tcp, which Docker publishes for "theirs" as well: packets go to the former',
  ]);
  expect(portConflicts([running({ hostIp: ip('10.0.0.11') })], [holder('10.0.0.11')])).toHaveLength(1);
});

it.each([
  [running({ hostPort: 8081 }), holder()],
  [running({ protocol: 'udp' }), holder()],
  [running({ hostIp: ip('10.0.0.12') }), holder('10.0.0.11')],
])('leaves other ports, protocols and addresses alone', (theirs, ours) => {
  expect(portConflicts([theirs], [ours])).toEqual([]);
});
