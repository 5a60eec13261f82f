/** What any `Docker` must do: run on the fake and on a real dockerd. */
import { describe, expect, test } from 'vitest';
import { isPortolanError } from '../base/errors.ts';
import { prefix } from '../base/ip.ts';
import type { Docker, DockerEvent, DockerNetworkSpec } from './types.ts';

export interface DockerUnderTest {
  readonly docker: Docker;
  /** Starts a container with label `a=b` on the network; resolves with its id. */
  run(name: string, network: string): Promise<string>;
  kill(id: string): Promise<void>;
}

const spec: DockerNetworkSpec = {
  name: 'dcos',
  subnets: [prefix('9.0.0.128/25'), prefix('fd01:b::8000:0:0:0/81')],
  enableIpv4: true,
  enableIpv6: true,
  options: { 'com.docker.network.bridge.name': 'd-dcos', 'com.docker.network.driver.mtu': '1450' },
  labels: { portolan: 'dcos' },
};

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
  expect(condition()).toBe(true);
}

export function dockerContract(name: string, subject: () => DockerUnderTest): void {
  describe(`${name} as Docker`, () => {
    test('reports versions of daemon and API', async () => {
      const version = await subject().docker.version();
      expect(version.version).toMatch(/^\d+\.\d+/);
      expect(version.apiVersion).toMatch(/^1\.\d+$/);
    });

    test('an unknown network or container is undefined, and removing it is no failure', async () => {
      const { docker } = subject();
      expect(await docker.network('nosuch')).toBeUndefined();
      expect(await docker.container('nosuch')).toBeUndefined();
      await docker.removeNetwork('nosuch');
    });

    test('a network is read back as it was asked for, by name and by id', async () => {
      const { docker } = subject();
      const id = await docker.createNetwork(spec);
      const network = await docker.network('dcos');
      expect(network).toMatchObject({
        id,
        name: 'dcos',
        driver: 'bridge',
        internal: false,
        enableIpv6: true,
      });
      expect(network?.options).toMatchObject(spec.options);
      expect(network?.labels).toEqual(spec.labels);
      expect(network?.subnets.map(String)).toEqual(spec.subnets.map(String));
      expect(network?.attachments).toEqual([]);
      expect((await docker.network(id))?.name).toBe('dcos');
      await docker.removeNetwork('dcos');
      expect(await docker.network('dcos')).toBeUndefined();
    });

    test('a taken name and a taken address space are conflicts', async () => {
      const { docker } = subject();
      await docker.createNetwork(spec);
      const conflict = (wish: DockerNetworkSpec): Promise<boolean> =>
        docker.createNetwork(wish).then(
          () => false,
          (error: unknown) => isPortolanError(error, 'conflict'),
        );
      const elsewhere = {
        ...spec,
        subnets: [prefix('9.0.1.128/25')],
        enableIpv6: false,
        options: { 'com.docker.network.bridge.name': 'd-other' },
      };
      expect(await conflict(elsewhere)).toBe(true);
      const overlapping = { ...elsewhere, name: 'other', subnets: [prefix('9.0.0.0/24')] };
      expect(await conflict(overlapping)).toBe(true);
      await docker.removeNetwork('dcos');
    });

    test('a container shows on its network with its addresses, holds it, is told in events, and goes', async () => {
      const { docker, run, kill } = subject();
      await docker.createNetwork(spec);
      const seen: DockerEvent[] = [];
      const events = await docker.events((event) => seen.push(event));
      const id = await run('pdk-contract', 'dcos');
      const attachment = (await docker.network('dcos'))?.attachments[0];
      expect(attachment).toMatchObject({ container: id, name: 'pdk-contract' });
      expect(attachment?.addresses.map(String)).toEqual(['9.0.0.130/25', 'fd01:b::8000:0:0:2/81']);
      expect(attachment?.mac).toMatch(/^02:42:/);
      expect((await docker.container(id))?.labels).toMatchObject({ a: 'b' });
      expect((await docker.container('pdk-contract'))?.id).toBe(id);
      expect((await docker.container(id))?.pid).toBeGreaterThan(0);
      expect((await docker.networks()).find(({ name }) => name === 'dcos')?.subnets.map(String)).toEqual(
        spec.subnets.map(String),
      );
      const running = (await docker.containers()).filter((each) => each.id === id);
      expect(running).toMatchObject([
        { name: 'pdk-contract', labels: { a: 'b' }, ports: [], networks: ['dcos'] },
      ]);
      await expect(docker.removeNetwork('dcos')).rejects.toMatchObject({ code: 'conflict' });
      await kill(id);
      expect((await docker.containers()).map((each) => each.id)).not.toContain(id);
      await until(() => seen.some((event) => event.type === 'network' && event.action === 'connect'));
      await until(() => seen.some((event) => event.type === 'network' && event.action === 'disconnect'));
      expect((await docker.network('dcos'))?.attachments).toEqual([]);
      events.close();
      await events.ended;
      await docker.removeNetwork('dcos');
    });
  });
}
