import { describe, expect, it } from 'vitest';
import { agent, at, facts, task } from '../../../test/support/mesos-facts.ts';
import { taskLaunch } from '../../model/task.ts';
import { getState } from './operator.ts';
import { sum } from './resources.ts';
import {
  renderAgents,
  renderFlags,
  renderFrameworks,
  renderRoles,
  renderState,
  renderSummary,
  renderTasks,
} from './state.ts';

const firstTask = (state: object): unknown => at(state, 'frameworks', 0, 'tasks', 0);

describe('/state', () => {
  it('has the members that the reference lists for master, agent and framework', () => {
    const state = renderState(facts());
    expect(state).toMatchObject({
      version: '1.11.0',
      id: 'c1',
      pid: 'master@10.0.0.1:5050',
      hostname: '10.0.0.1',
      start_time: 1_465_278_954.69,
      leader: 'master@10.0.0.1:5050',
      leader_info: { pid: 'master@10.0.0.1:5050', port: 5050, hostname: '10.0.0.1' },
      activated_slaves: 2,
      deactivated_slaves: 0,
      unreachable_slaves: 0,
      recovered_slaves: [],
      completed_frameworks: [],
      orphan_tasks: [],
      unregistered_frameworks: [],
    });
    expect(at(state, 'slaves', 0)).toEqual({
      id: 'n1',
      hostname: '10.0.0.1',
      port: 5051,
      pid: 'slave(1)@10.0.0.1:5051',
      attributes: { portolan_node: 'agent1', rack: 'r1' },
      domain: { fault_domain: { region: { name: 'eu' }, zone: { name: 'a' } } },
      registered_time: 1_465_312_651.846,
      resources: { cpus: 4, gpus: 0, mem: 14_018, disk: 35_577, ports: '[1025-2180, 8182-32000]' },
      used_resources: { cpus: 0.1, gpus: 0, mem: 32, disk: 0, ports: '[31001-31001]' },
      offered_resources: { cpus: 0, gpus: 0, mem: 0, disk: 0 },
      reserved_resources: {},
      unreserved_resources: { cpus: 4, gpus: 0, mem: 14_018, disk: 35_577, ports: '[1025-2180, 8182-32000]' },
      active: true,
      deactivated: false,
      version: '1.11.0',
      capabilities: ['MULTI_ROLE', 'HIERARCHICAL_ROLE', 'RESERVATION_REFINEMENT'],
    });
    expect(at(state, 'frameworks', 0)).toMatchObject({
      id: 'c1-0000',
      name: 'marathon',
      pid: 'scheduler-marathon@10.0.0.1:5050',
      hostname: '10.0.0.1',
      active: true,
      connected: true,
      recovered: false,
      role: '*',
      resources: { cpus: 0.1, mem: 32, ports: '[31001-31001]' },
      unreachable_tasks: [],
      completed_tasks: [],
      offers: [],
      executors: [],
      offer_constraints: {},
    });
  });

  it('tells of a container with its own address', () => {
    expect(firstTask(renderState(facts()))).toEqual({
      id: 'web.instance-00000000-0000-0000-0000-000000000001._app.1',
      name: 'web',
      framework_id: 'c1-0000',
      executor_id: '',
      slave_id: 'n1',
      state: 'TASK_RUNNING',
      role: '*',
      resources: { cpus: 0.1, gpus: 0, mem: 32, disk: 0, ports: '[31001-31001]' },
      labels: [{ key: 'env', value: 'prod' }],
      discovery: {
        visibility: 'FRAMEWORK',
        name: 'web',
        ports: {
          ports: [
            {
              number: 31_001,
              name: 'http',
              protocol: 'tcp',
              labels: { labels: [{ key: 'network-scope', value: 'host' }] },
            },
          ],
        },
      },
      container: {
        type: 'MESOS',
        network_infos: [
          {
            name: 'dcos',
            ip_addresses: [{ protocol: 'IPv4' }],
            port_mappings: [{ host_port: 31_001, container_port: 80, protocol: 'tcp' }],
          },
        ],
      },
      statuses: [
        {
          state: 'TASK_RUNNING',
          timestamp: 1_767_225_602,
          healthy: true,
          container_status: {
            container_id: { value: 'c1' },
            network_infos: [
              {
                name: 'dcos',
                ip_addresses: [{ protocol: 'IPv4', ip_address: '9.0.1.2' }],
                port_mappings: [{ host_port: 31_001, container_port: 80, protocol: 'tcp' }],
              },
            ],
          },
        },
      ],
    });
  });

  it('tells of a task on the host with the address of its agent', () => {
    const host = task(1, {
      networks: [{ mode: 'host', addresses: ['10.0.0.1'] }],
      ports: [{ protocol: 'tcp', host_port: 31_001, name: 'http', labels: { VIP_0: '/web:80' } }],
    });
    const shown = firstTask(renderState(facts({ tasks: [host] })));
    expect(at(shown, 'statuses', 0, 'container_status', 'network_infos')).toEqual([
      { ip_addresses: [{ protocol: 'IPv4', ip_address: '10.0.0.1' }] },
    ]);
    expect(at(shown, 'discovery', 'ports', 'ports', 0, 'labels')).toEqual({
      labels: [{ key: 'VIP_0', value: '/web:80' }],
    });
    expect(at(shown, 'container')).toEqual({ type: 'MESOS' });
  });

  it('lists a port of containers alone once for each network', () => {
    const many = task(1, {
      networks: [
        { mode: 'container', name: 'dcos', addresses: ['9.0.1.2'] },
        { mode: 'container', name: 'other', addresses: ['9.1.1.2', 'fd01:b::2'] },
      ],
      ports: [
        { protocol: 'tcp', container_port: 80, labels: {} },
        { protocol: 'udp', container_port: 53, networks: ['other'], labels: {} },
      ],
    });
    const shown = firstTask(renderState(facts({ tasks: [many] })));
    const scope = (name: string): object => ({
      labels: [
        { key: 'network-scope', value: 'container' },
        { key: 'network-name', value: name },
      ],
    });
    expect(at(shown, 'discovery', 'ports', 'ports')).toEqual([
      { number: 80, protocol: 'tcp', labels: scope('dcos') },
      { number: 80, protocol: 'tcp', labels: scope('other') },
      { number: 53, protocol: 'udp', labels: scope('other') },
    ]);
    expect(at(shown, 'statuses', 0, 'container_status', 'network_infos', 1, 'ip_addresses')).toEqual([
      { protocol: 'IPv4', ip_address: '9.1.1.2' },
      { protocol: 'IPv6', ip_address: 'fd01:b::2' },
    ]);
  });

  it('tells of Docker containers as Mesos does', () => {
    const docker = task(1, { runtime: 'docker' });
    expect(at(firstTask(renderState(facts({ tasks: [docker] }))), 'container')).toEqual({
      type: 'DOCKER',
      docker: {
        image: '',
        network: 'USER',
        privileged: false,
        port_mappings: [{ host_port: 31_001, container_port: 80, protocol: 'tcp' }],
      },
      network_infos: [{ name: 'dcos' }],
    });
  });

  it('puts tasks of agents that nobody reaches aside, and keeps those that ended', () => {
    const state = renderState(
      facts({
        agents: [agent(1), agent(2, { reachable: false })],
        tasks: [task(1), task(2, {}, { reachable: false })],
        completed: [task(3, { state: 'TASK_FAILED' })],
      }),
    );
    expect(state).toMatchObject({ activated_slaves: 1, unreachable_slaves: 1 });
    expect(at(state, 'frameworks', 0)).toMatchObject({
      tasks: [{ slave_id: 'n1' }],
      unreachable_tasks: [{ slave_id: 'n2', state: 'TASK_UNREACHABLE' }],
      completed_tasks: [{ slave_id: 'n3', state: 'TASK_FAILED' }],
    });
  });

  it('gives other frameworks their own place', () => {
    const other = task(2, { framework: 'batch' });
    const state = renderState(facts({ tasks: [task(1), other] }));
    expect(at(state, 'frameworks')).toMatchObject([
      { name: 'marathon' },
      { name: 'batch', id: 'c1-batch', tasks: [{ framework_id: 'c1-batch' }] },
    ]);
    expect(renderFrameworks(facts({ tasks: [task(1), other] }), 'c1-batch')).toMatchObject({
      frameworks: [{ name: 'batch' }],
    });
  });
});

describe('its parts', () => {
  it('counts states in the summary', () => {
    const summary = renderSummary(facts({ completed: [task(2, { state: 'TASK_FAILED' })] }));
    expect(summary).toMatchObject({
      slaves: [
        { id: 'n1', TASK_RUNNING: 1, TASK_FAILED: 0, framework_ids: ['c1-0000'] },
        { id: 'n2', TASK_RUNNING: 0, TASK_FAILED: 1 },
      ],
      frameworks: [{ name: 'marathon', TASK_RUNNING: 1, TASK_FAILED: 1, slave_ids: ['n1', 'n2'] }],
    });
    expect(at(summary, 'frameworks', 0)).not.toHaveProperty('tasks');
  });

  it('lists agents with resources one by one', () => {
    expect(renderAgents(facts(), 'n2')).toMatchObject({
      slaves: [
        {
          id: 'n2',
          unreserved_resources_full: [{ name: 'cpus' }, { name: 'mem' }, { name: 'disk' }, { name: 'ports' }],
        },
      ],
    });
  });

  it('tells of a task in each state that it was in, oldest first, and of its health check', () => {
    const check = {
      protocol: 'MESOS_HTTP',
      path: '/up',
      port: 80,
      grace_s: 300,
      interval_s: 60,
      timeout_s: 20,
    };
    const base = task(1);
    const launch = taskLaunch.parse({
      ...base.launch,
      health_checks: [{ ...check, delay_s: 15, max_failures: 3 }],
    });
    const { networks, ports, status_at, message } = base.task;
    const earlier = [{ state: 'TASK_STARTING' as const, networks, ports, status_at, message }];
    const shown = firstTask(renderState(facts({ tasks: [{ ...base, launch, earlier }] })));
    expect(at(shown, 'statuses')).toMatchObject([{ state: 'TASK_STARTING' }, { state: 'TASK_RUNNING' }]);
    expect(at(shown, 'health_check')).toEqual({
      ...{ type: 'HTTP', delay_seconds: 15, interval_seconds: 60, timeout_seconds: 20 },
      ...{ consecutive_failures: 3, grace_period_seconds: 300 },
      http: { protocol: 'IPv4', scheme: 'http', port: 80, path: '/up' },
    });
    const operator = getState(facts({ tasks: [{ ...base, launch, earlier }] }));
    const [same] = at(operator, 'get_tasks', 'tasks') as object[];
    expect(at(same, 'health_check', 'type')).toBe('HTTP');
    expect(at(same, 'statuses')).toHaveLength(2);
  });

  it('tells of an agent that is drained, and of what is used on one', () => {
    const state = renderState(facts({ agents: [agent(1), agent(2, { drained: true })] }));
    expect(state).toMatchObject({
      ...{ activated_slaves: 1, deactivated_slaves: 1, unreachable_slaves: 0 },
      slaves: [
        { deactivated: false },
        { deactivated: true, active: true, drain_info: { state: 'DRAINED', config: { mark_gone: false } } },
      ],
    });
    const draining = facts({ agents: [agent(1, { drained: true }), agent(2)] });
    expect(at(renderState(draining), 'slaves', 0, 'drain_info', 'state')).toBe('DRAINING');
    expect(at(renderState(draining), 'slaves', 1)).not.toHaveProperty('drain_info');
    expect(at(getState(draining), 'get_agents', 'agents')).toMatchObject([
      { deactivated: true, drain_info: { state: 'DRAINING', config: { mark_gone: false } } },
      { deactivated: false },
    ]);
    const { slaves } = renderAgents(facts(), 'n1') as { slaves: object[] };
    expect(at(slaves, 0, 'used_resources_full')).toMatchObject([
      { name: 'cpus', scalar: { value: 0.1 } },
      { name: 'mem', scalar: { value: 32 } },
      { name: 'disk', scalar: { value: 0 } },
      { name: 'ports', ranges: { range: [{ begin: 31_001, end: 31_001 }] } },
    ]);
  });

  it('has one role, and the flags that /state has', () => {
    expect(renderRoles(facts())).toMatchObject({ roles: [{ name: '*', frameworks: ['c1-0000'] }] });
    expect(renderFlags(facts())).toEqual({ flags: at(renderState(facts()), 'flags') });
  });

  it('pages tasks, newest first', () => {
    const tasks = [1, 2, 3].map((n) => task(n, { staged_at: `2026-01-01T00:00:0${n}.000Z` }));
    const slaves = (query: object): unknown[] => {
      const shown = renderTasks(facts({ tasks }), { limit: 100, offset: 0, order: 'des', ...query }) as {
        tasks: { slave_id: string }[];
      };
      return shown.tasks.map((each) => each.slave_id);
    };
    expect(slaves({})).toEqual(['n3', 'n2', 'n1']);
    expect(slaves({ order: 'asc', limit: 1, offset: 1 })).toEqual(['n2']);
    expect(slaves({ taskId: tasks[0]?.task.id })).toEqual(['n1']);
    expect(slaves({ frameworkId: 'none' })).toEqual([]);
  });

  it('joins neighbouring ports to ranges', () => {
    const ports = [31_002, 31_001, 31_005].map((host_port) => ({
      protocol: 'tcp' as const,
      host_port,
      labels: {},
    }));
    expect(sum([task(1, { ports })]).ports).toBe('[31001-31002, 31005-31005]');
  });
});
