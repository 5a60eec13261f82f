import { describe, expect, test } from 'vitest';
import { defaultNetwork } from '../model/config.ts';
import { resourcesKey } from '../model/task.ts';
import { keys, type RecordValue } from '../model/record.ts';
import { REGISTERED_PATH, REGISTER_PATH } from '../model/registration.ts';
import { node, openRegistry, registration, turnsUntil } from './fake.ts';

type Setup = Awaited<ReturnType<typeof openRegistry>>;

function caller({ app }: Setup) {
  return async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const response = await app.request(path, {
      method,
      headers,
      ...(text === undefined ? {} : { body: text }),
    });
    const answer = await response.text();
    const json = response.headers.get('content-type')?.includes('json') === true;
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      allow: response.headers.get('allow'),
      body: (json ? JSON.parse(answer) : answer) as RecordValue,
    };
  };
}

async function setUp(init: Parameters<typeof openRegistry>[0] = {}) {
  const setup = await openRegistry(init);
  return { ...setup, call: caller(setup) };
}

const network = { ...defaultNetwork, vtep_mtu: 1500, overlays: defaultNetwork.overlays.slice(0, 1) };

describe('GET /overlay-master/state', () => {
  test('has exactly the documented shape', async () => {
    const { call } = await setUp({ network });
    expect((await call('GET', '/overlay-master/state')).body).toEqual({ network });
    const id = node();
    const { body } = await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    const { overlays } = body as { overlays: object[] };
    const reported = overlays.map((each) => ({ ...each, state: { status: 'STATUS_OK' } }));
    await call('POST', REGISTERED_PATH, { node: id, overlays: reported });
    const info = { name: 'dcos', subnet: '9.0.0.0/8', prefix: 24, enabled: true };
    expect(await call('GET', '/overlay-master/state')).toEqual({
      status: 200,
      type: 'application/json',
      allow: null,
      body: {
        network: {
          vtep_subnet: '44.128.0.0/20',
          vtep_subnet6: 'fd01:a::/64',
          vtep_mac_oui: '70:B3:D5:00:00:00',
          vtep_mtu: 1500,
          overlays: [info],
        },
        agents: [
          {
            ip: '10.0.0.5',
            overlays: [
              {
                info,
                subnet: '9.0.0.0/24',
                mesos_bridge: { name: 'm-dcos', ip: '9.0.0.0/25' },
                docker_bridge: { name: 'd-dcos', ip: '9.0.0.128/25' },
                backend: {
                  vxlan: {
                    vni: 1024,
                    vtep_name: 'vtep1024',
                    vtep_ip: '44.128.0.1/20',
                    vtep_ip6: 'fd01:a::1/64',
                    vtep_mac: '70:b3:d5:80:00:01',
                    vtep_mtu: 1500,
                  },
                },
                state: { status: 'STATUS_OK' },
              },
            ],
          },
        ],
      },
    });
  });

  test('answers JSONP, and only for names of functions', async () => {
    const { call } = await setUp({ network });
    const answer = await call('GET', '/overlay-master/state?jsonp=cb.f');
    expect(answer).toMatchObject({
      type: 'text/javascript',
      body: expect.stringMatching(/^cb\.f\(\{"network":.*\}\);$/) as string,
    });
    expect((await call('GET', '/overlay-master/state?jsonp=alert(1)')).status).toBe(400);
  });

  test.each([
    ['application/json', 200],
    ['application/x-protobuf, application/json;q=0.5', 200],
    ['text/html, */*;q=0.8', 200],
    ['application/x-protobuf', 415],
    ['text/html', 415],
  ])('for Accept "%s" answers %i', async (accept, status) => {
    const { call } = await setUp();
    expect((await call('GET', '/overlay-master/state', undefined, { accept })).status).toBe(status);
  });
});

describe('POST /overlay-master/agents/delete', () => {
  test('gives the blocks back, ignores unknown addresses, and answers the new state', async () => {
    const { call } = await setUp({ network });
    for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
      await call('POST', REGISTER_PATH, registration(node(), address));
    const { status, body } = await call('POST', '/overlay-master/agents/delete', {
      agents: ['10.0.0.1', '10.0.0.2', '10.9.9.9', '10.0.0.1'],
    });
    expect([status, (body as { agents: { ip: string }[] }).agents.map(({ ip }) => ip)]).toEqual([
      200,
      ['10.0.0.3'],
    ]);
    const { body: next } = await call('POST', REGISTER_PATH, registration(node(), '10.0.0.1'));
    expect(next).toMatchObject({ overlays: [{ subnet: '9.0.0.0/24' }] });
  });

  test.each(['GET', 'PUT', 'DELETE'])('refuses %s with 405 and says what is allowed', async (method) => {
    const { call } = await setUp();
    expect(await call(method, '/overlay-master/agents/delete')).toMatchObject({ status: 405, allow: 'POST' });
  });

  test.each([
    ['text that is no JSON', '{'],
    ['agents that are no array', { agents: '10.0.0.1' }],
    ['no agents', {}],
    ['an IPv6 address', { agents: ['fd00::1'] }],
    ['half an address', { agents: ['10.0.0.1', '10.0.0'] }],
    ['a number', { agents: [7] }],
  ])('refuses %s with 400 and deletes nothing', async (_, body) => {
    const { call, registry } = await setUp();
    await call('POST', REGISTER_PATH, registration(node(), '10.0.0.1'));
    const answer = await call('POST', '/overlay-master/agents/delete', body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid', field: 'agents' } });
    expect(registry.ledger.size).toBe(1);
  });

  test('answers 503 while recovering', async () => {
    const { call, store, registry, clock, log } = await setUp();
    store.failCommits(1);
    store.failReads(1);
    expect((await call('POST', REGISTER_PATH, registration(node(), '10.0.0.1'))).status).toBe(503);
    await turnsUntil(() => log.lines.some(({ message }) => message.startsWith('Cannot recover')));
    for (const answer of [
      await call('POST', '/overlay-master/agents/delete', { agents: [] }),
      await call('GET', '/overlay-master/state'),
      await call('POST', REGISTER_PATH, registration(node(), '10.0.0.1')),
    ])
      expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect((await call('GET', '/health')).body).toMatchObject({ status: 'recovering' });
    clock.advance(1000);
    await turnsUntil(() => !registry.recovering);
    expect((await call('GET', '/overlay-master/state')).status).toBe(200);
  });
});

describe('/v1/nodes', () => {
  test('lists nodes with what they hold, and their role where it is published', async () => {
    const { call, told } = await setUp({ network });
    const id = node();
    await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    told.put(keys.node(id), { name: 'x', address: '10.0.0.5', gossip_port: 1, api_port: 2, role: 'agent' });
    const { body } = await call('GET', '/v1/nodes');
    expect(body).toMatchObject({
      nodes: [{ id, role: 'agent', overlays: { dcos: '9.0.0.0/24' }, vtep_mac: '70:b3:d5:80:00:01' }],
    });
    expect((await call('GET', '/v1/nodes/10.0.0.5')).body).toMatchObject({ id });
  });

  test('shows of one node what it offers to tasks, once it has told', async () => {
    const { call, told } = await setUp({ network });
    const id = node();
    await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    expect((await call('GET', '/v1/nodes/10.0.0.5')).body).not.toHaveProperty('resources');
    const resources = {
      ...{
        cpus: 2,
        mem_mib: 1024,
        disk_mib: 2048,
        gpus: 0,
        ports: [[31_000, 32_000]],
        attributes: { rack: '1' },
      },
      ...{ runtimes: ['mesos'], task_addresses: { dcos: { mesos: 125, docker: 125 } } },
    };
    told.put(resourcesKey(id), resources);
    expect((await call('GET', '/v1/nodes/10.0.0.5')).body).toMatchObject({ resources });
  });

  test('removes by id, name or address, and refuses to guess between two', async () => {
    const { call } = await setUp({ network });
    const [old, fresh, other] = [node(), node(), node()];
    for (const id of [old, fresh]) await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    await call('POST', REGISTER_PATH, registration(other, '10.0.0.6'));
    const refused = await call('DELETE', '/v1/nodes/10.0.0.5');
    expect(refused).toMatchObject({ status: 409, body: { code: 'conflict', remedy: 'name it by its id' } });
    expect((await call('DELETE', `/v1/nodes/${old}`)).body).toMatchObject({ id: old, superseded_by: fresh });
    expect((await call('DELETE', '/v1/nodes/10.0.0.5')).body).toMatchObject({ id: fresh });
    expect((await call('DELETE', '/v1/nodes/host-10.0.0.6')).status).toBe(200);
    expect((await call('GET', '/v1/nodes')).body).toEqual({ nodes: [] });
    expect((await call('DELETE', `/v1/nodes/${old}`)).status).toBe(404);
  });

  test('tells a removed node so', async () => {
    const { call } = await setUp();
    const id = node();
    await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    await call('DELETE', `/v1/nodes/${id}`);
    expect(await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'))).toMatchObject({
      status: 403,
      body: { code: 'forbidden', details: { removed: true } },
    });
  });
});

describe('/v1/networks', () => {
  test('lists, adds, shows and removes', async () => {
    const { call } = await setUp({ network });
    const extra = { name: 'extra', subnet: '10.64.0.0/22', prefix: 24 };
    expect((await call('POST', '/v1/networks', extra)).status).toBe(201);
    const id = node();
    await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    expect((await call('GET', '/v1/networks')).body).toMatchObject({
      networks: [
        { name: 'dcos', nodes: 1, free_blocks: 65_535, source: 'file' },
        { name: 'extra', nodes: 1, free_blocks: 3, source: 'api' },
      ],
    });
    expect((await call('GET', '/v1/networks/extra')).body).toMatchObject({
      holders: [{ node: id, subnet: '10.64.0.0/24' }],
    });
    expect((await call('DELETE', '/v1/networks/extra')).status).toBe(409);
    await call('DELETE', `/v1/nodes/${id}`);
    expect((await call('DELETE', '/v1/networks/extra')).status).toBe(200);
    expect((await call('GET', '/v1/networks/extra')).status).toBe(404);
  });

  test('counts no more free blocks than a number of JSON can', async () => {
    const { call } = await setUp({ network });
    await call('POST', '/v1/networks', { name: 'wide6', subnet6: 'fd10::/16', prefix6: 80 });
    expect((await call('GET', '/v1/networks/wide6')).body).toMatchObject({
      free_blocks: Number.MAX_SAFE_INTEGER,
    });
  });

  test('refuses an unknown key and a network in use, naming the field', async () => {
    const { call } = await setUp();
    expect(await call('POST', '/v1/networks', { name: 'x', subnt: '10.0.0.0/8' })).toMatchObject({
      status: 400,
    });
    expect(await call('POST', '/v1/networks', { name: 'x', subnet: '9.1.0.0/16', prefix: 24 })).toMatchObject(
      {
        status: 400,
        body: { field: 'network.overlays[2].subnet' },
      },
    );
  });
});

describe('the rest', () => {
  test('health carries the instance that agents watch', async () => {
    const { call, registry, cluster } = await setUp();
    expect((await call('GET', '/health')).body).toEqual({
      status: 'ok',
      role: 'master',
      master: registry.instance,
      cluster,
    });
  });

  test('metrics have our names, and the documented ones in the snapshot', async () => {
    const { call } = await setUp();
    await call('POST', REGISTER_PATH, registration(node(), '10.0.0.5'));
    expect((await call('GET', '/metrics')).body).toContain(
      'portolan_overlay_master_register_agent_messages_received_total 1',
    );
    expect((await call('GET', '/metrics/snapshot')).body).toEqual({
      'overlay/master/recovering': 0,
      'overlay/master/process_restarts': 0,
      'overlay/master/ip_allocation_failures': 0,
      'overlay/master/ip6_allocation_failures': 0,
      'overlay/master/subnet_allocation_failures': 0,
      'overlay/master/subnet6_allocation_failures': 0,
      'overlay/master/bridge_allocation_failures': 0,
      'overlay/master/internal/register_agent_messages_received': 1,
      'overlay/master/internal/register_agent_messages_dropped': 0,
      'overlay/master/internal/update_agent_overlays_messages_sent': 1,
      'overlay/master/internal/agent_registered_messages_received': 0,
      'overlay/master/internal/agent_registered_messages_dropped': 0,
      'overlay/master/internal/agent_registered_acknowledgements_sent': 0,
    });
  });

  test('endpoints are those that nodes publish, without tombstones', async () => {
    const { call, told } = await setUp();
    const id = node();
    await call('POST', REGISTER_PATH, registration(id, '10.0.0.5'));
    const value = {
      container: 'c1',
      ifname: 'eth0',
      network: 'dcos',
      source: 'cni',
      addresses: ['9.0.0.5/25'],
      ports: [],
      labels: {},
    };
    told.put(keys.endpoint(id, 'c1', 'eth0'), value);
    told.put(keys.endpoint(id, 'c2', 'eth0'), null);
    expect((await call('GET', '/v1/endpoints')).body).toEqual({
      endpoints: [{ ...value, node: id, host: 'host-10.0.0.5' }],
    });
  });

  test('a registration that does not fit its schema is refused with the field', async () => {
    const { call } = await setUp();
    const message = { ...registration(node(), '10.0.0.5'), address: '10.0.0' };
    expect(await call('POST', REGISTER_PATH, message)).toMatchObject({
      status: 400,
      body: { field: 'address' },
    });
    expect((await call('POST', REGISTER_PATH, 'no json')).status).toBe(400);
  });
});
