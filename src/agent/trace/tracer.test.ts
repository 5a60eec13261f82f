import { describe, expect, it } from 'vitest';
import { FakeKernel } from '../../kernel/fake.ts';
import { host } from '../../trace/fake.ts';
import { fakeTask } from '../../vip/fake.ts';
import { Tracer } from './tracer.ts';

/** A tracer on host 1 with its container c1, two tasks `web` elsewhere, and the VIP `web:80`. */
function bed(vip: readonly string[]): Tracer {
  const at = (name: string, n: number, ...addresses: string[]) =>
    fakeTask(
      n,
      {},
      { task: { id: `${name}-${n}`, name, networks: [{ mode: 'container', name: 'dcos', addresses }] } },
    );
  const tasks = [at('c1', 1, '9.0.1.2'), at('web', 2, '9.0.2.2'), at('web', 3, '9.0.2.3')];
  const nodes = tasks.map(({ node, agentIp }, i) => ({
    ...{ id: node, name: `agent${i + 1}`, address: agentIp, role: 'agent' as const, overlays: {} },
    ...{ gossip_port: 1, api_port: 2 },
  }));
  return new Tracer(
    { kernel: new FakeKernel(), records: { tasks: () => tasks, nodes: () => nodes } },
    {
      host: 'agent1',
      observe: () => Promise.resolve({ ...host(1), vip: () => [] }),
      vipAddresses: (name, where) => (name === 'web' && where?.port !== 81 ? vip : []),
      backendOf: () => undefined,
    },
  );
}

const trace = (tracer: Tracer, to: string) =>
  tracer.trace({ from: 'c1', to, protocol: 'tcp' }, { forward: false });

describe('what a trace goes to', () => {
  it('is a VIP where a label would write it so, even if tasks have its name', async () => {
    const { packet } = await trace(bed(['11.0.0.1']), 'web:80');
    expect(packet.destination).toBe('11.0.0.1');
    await expect(trace(bed(['11.0.0.1']), 'web:81')).rejects.toThrow('2 containers have this name');
    await expect(trace(bed([]), 'web:80')).rejects.toThrow('2 containers have this name');
  });

  it("is the VIP's address of a family that the sender has", async () => {
    const { packet } = await trace(bed(['fd01:c::1', '11.0.0.1']), 'web:80');
    expect(packet.destination).toBe('11.0.0.1');
  });
});
