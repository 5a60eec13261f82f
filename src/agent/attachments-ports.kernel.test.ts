/** Host ports of containers on the real kernel, in namespaces of this test's own. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { CniResult } from '../cni/result.ts';
import { memoryJournal } from '../store/memory-journal.ts';
import { callCni, CniBed, leftNamespaces, run, type CniCall } from '../../test/support/cni-bed.ts';
import { Traffic } from '../../test/support/traffic.ts';
import type { Attachments } from './attachments.ts';

const NAMES = 'pcn-ports';
let bed: CniBed;
let service: Attachments;

beforeAll(async () => {
  bed = await CniBed.open(NAMES);
  service = bed.service(memoryJournal());
});
afterAll(async () => {
  await bed.close();
  expect(leftNamespaces(NAMES)).toEqual([]);
});
afterEach(async () => {
  for (const { container, ifname, network } of service.list())
    await callCni(service, 'DEL', { container, ifname, network, netns: '' });
  expect(await bed.leftovers()).toEqual({ links: [], elements: [] });
});

async function add(what: CniCall): Promise<CniResult> {
  const answered = await callCni(service, 'ADD', what);
  expect(answered.stdout).not.toContain('"msg"');
  return JSON.parse(answered.stdout) as CniResult;
}

async function refused(command: string, what: CniCall): Promise<string> {
  const answered = await callCni(service, command, what);
  expect(answered.exitCode).toBe(1);
  return `${answered.code}: ${answered.message}`;
}

describe('port mappings', () => {
  const withPorts = (...portMappings: Record<string, unknown>[]): Record<string, unknown> => ({
    runtimeConfig: { portMappings },
  });

  test('reach the container from the host and from itself, and go with it', async () => {
    const container = bed.container();
    await add({ container, config: withPorts({ hostPort: 31_081, containerPort: 80, protocol: 'tcp' }) });
    expect((await bed.leftovers()).elements).toEqual(['portMap4 6 31081']);
    const server = bed.start(container, 'busybox', 'nc', '-l', '-p', '80', '-e', '/bin/echo', 'hello');
    await vi.waitFor(() => expect(run('busybox', 'nc', '127.0.0.1', '31081')).toBe('hello\n'), 5000);
    server.kill();
    const again = bed.start(container, 'busybox', 'nc', '-l', '-p', '80', '-e', '/bin/echo', 'hello');
    const itself = (): string => bed.inside(container, 'busybox', 'nc', '9.0.1.1', '31081');
    await vi.waitFor(() => expect(itself()).toBe('hello\n'), 5000);
    again.kill();
    await callCni(service, 'DEL', { container });
    expect((await bed.leftovers()).elements).toEqual([]);
  });

  test('a port that another container holds is refused, naming it; different addresses or protocols are not', async () => {
    const [one, two, three] = [bed.container(), bed.container(), bed.container()];
    await add({
      container: one,
      config: withPorts({ hostPort: 31_082, containerPort: 80, hostIP: '127.0.0.1' }),
    });
    expect(
      await refused('ADD', { container: two, config: withPorts({ hostPort: 31_082, containerPort: 81 }) }),
    ).toBe(`103: Cannot map host port 31082/tcp: container "${one}/eth0" holds it`);
    expect(service.list()).toHaveLength(1);
    await add({
      container: two,
      config: withPorts({ hostPort: 31_082, containerPort: 81, hostIP: '127.0.0.2' }),
    });
    await add({
      container: three,
      config: withPorts({ hostPort: 31_082, containerPort: 81, protocol: 'udp' }),
    });
    await callCni(service, 'DEL', { container: one });
    await callCni(service, 'DEL', { container: two });
    await add({ container: two, config: withPorts({ hostPort: 31_082, containerPort: 81 }) });
  });

  test('containers come before processes: who publishes a port often listens on it as well', async () => {
    const [one, two] = [bed.container(), bed.container()];
    const config = withPorts({ hostPort: 31_088, containerPort: 80 });
    await add({ container: one, config, args: 'K8S_POD_NAME=web' });
    const looked = vi.spyOn(bed.kernel, 'portPerhapsInUse');
    expect(await refused('ADD', { container: two, config })).toBe(
      `103: Cannot map host port 31088/tcp: container "web" (${one}/eth0) holds it`,
    );
    expect(looked).not.toHaveBeenCalled();
    looked.mockRestore();
  });

  test('who sent to a UDP port before the container was there gets through after', async () => {
    const container = bed.container();
    const server = await Traffic.open(`/run/netns/${container}`);
    const client = createSocket('udp4');
    try {
      await server.listen(53, { protocol: 'udp' });
      const send = (): void => client.send('x', 31_089, '9.0.1.1');
      send();
      const portMappings = [{ hostPort: 31_089, containerPort: 53, protocol: 'udp' }];
      await add({ container, config: { runtimeConfig: { portMappings } } });
      const answered = once(client, 'message');
      send();
      await answered;
    } finally {
      client.close();
      await server.close();
    }
  });

  test('one ADD that asks for a port twice is refused', async () => {
    const twice = withPorts({ hostPort: 31_083, containerPort: 80 }, { hostPort: 31_083, containerPort: 81 });
    expect(await refused('ADD', { container: bed.container(), config: twice })).toMatch(
      /^7: .*asked for twice/,
    );
  });

  test('a leftover element of nobody is replaced', async () => {
    const config = withPorts({ hostPort: 31_084, containerPort: 80 });
    const [one, two] = [bed.container(), bed.container()];
    await add({ container: one, config });
    service = bed.service(memoryJournal()); // It knows nothing of it.
    await add({ container: two, config });
    expect((await bed.leftovers()).elements).toEqual(['portMap4 6 31084']);
    await callCni(service, 'DEL', { container: two });
    bed.removeContainer(one);
    const leftover = (await bed.leftovers()).links;
    await bed.kernel.apply(leftover.map((name) => ({ do: 'link-delete', name })));
  });
});
