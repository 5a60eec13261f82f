import { describe, expect, it } from 'vitest';
import { memoryLog } from '../base/log.ts';
import { FakeKernel } from '../kernel/fake.ts';
import { DockerPorts } from './docker-ports.ts';

async function bed() {
  const kernel = new FakeKernel();
  const log = memoryLog();
  const ports = new DockerPorts({ kernel, log });
  const veth = (name: string, master: string) =>
    kernel.apply([
      {
        do: 'link-add',
        name,
        link: { kind: 'veth', peer: { name: `${name}-peer` } },
        settings: { master },
      },
    ]);
  for (const name of ['d-dcos', 'docker0', 'br-other'])
    await kernel.apply([{ do: 'link-add', name, link: { kind: 'bridge' }, settings: {} }]);
  return { kernel, log, ports, veth };
}

describe('Docker containers on our bridges and on the default one', () => {
  it('may get back what they sent, and those on other bridges are left as they are', async () => {
    const { kernel, log, ports, veth } = await bed();
    await veth('veth1', 'd-dcos');
    await veth('veth2', 'br-other');
    await ports.ensure(await kernel.links());
    expect(kernel.isHairpin('veth1')).toBe(true);
    expect(kernel.isHairpin('veth2')).toBe(false);
    await veth('veth3', 'd-dcos');
    await veth('veth4', 'docker0');
    await ports.ensure(await kernel.links());
    expect(kernel.isHairpin('veth3')).toBe(true);
    expect(kernel.isHairpin('veth4')).toBe(true);
    expect(log.lines).toEqual([]);
  });

  it('that have ended meanwhile are no matter', async () => {
    const { kernel, log, ports, veth } = await bed();
    await veth('veth1', 'd-dcos');
    const links = await kernel.links();
    await kernel.apply([{ do: 'link-delete', name: 'veth1' }]);
    await ports.ensure(links);
    expect(log.lines).toEqual([]);
  });
});
