/** What the real daemon does seldom: refusals, broken streams, answers of versions that we have not here. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { prefix } from '../base/ip.ts';
import { openDocker } from './docker.ts';
import type { DockerEvent } from './types.ts';

let dir: string;
let server: Server | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pdk-docker-'));
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  await rm(dir, { recursive: true, force: true });
});

/** A daemon that gives this answer to everything. */
async function answering(answer: (response: ServerResponse, url: string) => void): Promise<string> {
  const socket = join(dir, 'docker.sock');
  const started = createServer((incoming, response) => answer(response, incoming.url ?? ''));
  server = started;
  await new Promise<void>((resolve) => {
    started.listen(socket, resolve);
  });
  return socket;
}

const json =
  (status: number, body: unknown) =>
  (response: ServerResponse): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };

const spec = {
  name: 'dcos',
  subnets: [prefix('9.0.0.128/25')],
  enableIpv4: true,
  enableIpv6: false,
  options: {},
  labels: {},
};

describe('refusals', () => {
  test.each([
    [409, 'network with name dcos already exists', 'conflict'],
    [403, 'Pool overlaps with other one on this address space', 'conflict'],
    [403, 'operation not permitted for pre-defined networks', 'forbidden'],
    [400, 'invalid subnet', 'invalid'],
    [503, 'swarm is locked', 'unavailable'],
    [500, 'cannot create network: bridge name already taken', 'internal'],
    [500, "no available IPv4 addresses on this network's address pools: dcos (1f)", 'exhausted'],
  ])("%i %s is told as '%s' in Docker's own words", async (status, message, code) => {
    const docker = openDocker(await answering(json(status, { message })));
    await expect(docker.createNetwork(spec)).rejects.toMatchObject({
      code,
      message: `Docker refused POST /networks/create: ${message}`,
    });
  });

  test('a socket that is not there names it and the remedy', async () => {
    await expect(openDocker(join(dir, 'none.sock')).version()).rejects.toMatchObject({
      code: 'unavailable',
      field: 'docker.socket',
      message: expect.stringContaining('none.sock'),
    });
  });

  test('an answer that is no JSON is a failure, not a network', async () => {
    const docker = openDocker(await answering((response) => response.end('<html>')));
    await expect(docker.network('dcos')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('an answer of another shape is a failure, not a network', async () => {
    const docker = openDocker(await answering(json(200, { Name: 7 })));
    await expect(docker.network('dcos')).rejects.toThrow(/expected string/);
  });
});

describe('answers', () => {
  test('null maps, missing fields and IPAM without subnet are read', async () => {
    const answer = {
      Id: 'x',
      Name: 'dcos',
      Driver: 'bridge',
      IPAM: { Config: null },
      Options: null,
      Labels: null,
    };
    expect(await openDocker(await answering(json(200, answer))).network('dcos')).toEqual({
      id: 'x',
      name: 'dcos',
      driver: 'bridge',
      internal: false,
      enableIpv6: false,
      subnets: [],
      options: {},
      labels: {},
      attachments: [],
    });
  });

  test('published ports are read once per port, with the address they are bound to', async () => {
    const Ports = {
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '8080' },
        { HostIp: '::', HostPort: '8080' },
      ],
      '53/udp': [{ HostIp: '127.0.0.1', HostPort: '5353' }],
      '9000/tcp': null,
    };
    const answer = { Id: 'x', Name: '/web', Config: { Labels: null }, NetworkSettings: { Ports } };
    const container = await openDocker(await answering(json(200, answer))).container('web');
    expect(container?.name).toBe('web');
    expect(
      container?.ports.map(({ hostIp, ...port }) => ({ ...port, hostIp: hostIp && String(hostIp) })),
    ).toEqual([
      { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: undefined },
      { hostPort: 5353, containerPort: 53, protocol: 'udp', hostIp: '127.0.0.1' },
    ]);
  });
});

describe('events', () => {
  test('lines cut anywhere are put together, foreign and broken ones are left out, and the end is told', async () => {
    const line = (Type: string, Action: string): string =>
      `${JSON.stringify({ Type, Action, Actor: { ID: 'x' } })}\n`;
    const text = `${line('network', 'connect')}not json\n${line('image', 'pull')}\n${line('container', 'start')}`;
    const socket = await answering((response, url) => {
      expect(decodeURIComponent(url)).toBe('/events?filters={"type":["network","container"]}');
      response.write(text.slice(0, 25));
      setImmediate(() => response.end(text.slice(25)));
    });
    const seen: DockerEvent[] = [];
    const events = await openDocker(socket).events((event) => seen.push(event));
    await events.ended;
    expect(seen).toEqual([
      { type: 'network', action: 'connect', id: 'x' },
      { type: 'container', action: 'start', id: 'x' },
    ]);
  });

  test('a line without end closes the stream instead of filling memory', async () => {
    const socket = await answering((response) => {
      const more = (): void => {
        if (!response.destroyed) response.write('x'.repeat(256 * 1024), () => setImmediate(more));
      };
      more();
    });
    const events = await openDocker(socket).events(() => undefined);
    await events.ended;
  });

  test('a refused subscription rejects', async () => {
    const docker = openDocker(await answering(json(500, { message: 'no' })));
    await expect(docker.events(() => undefined)).rejects.toMatchObject({ code: 'internal' });
  });
});
