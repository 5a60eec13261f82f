import { describe, expect, it } from 'vitest';
import type { NodeId } from '../model/names.ts';
import { taskRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';
import { taskHash } from './canonical.ts';
import { dataText } from './record.ts';
import { taskRecords } from './task-names.ts';

function viewed(task: object = {}, more: Partial<ViewedTask> = {}): ViewedTask {
  return {
    id: 'n/x',
    node: 'nabcdefghijklmnopqrstuvwxyz' as NodeId,
    host: 'agent1',
    agentIp: '10.0.0.11',
    reachable: true,
    task: taskRecord.parse({
      id: 'outer_sub_myapp.instance-1._app.1',
      app: '/outer/sub/myapp',
      version: '1970-01-01T00:00:00.000Z',
      framework: 'marathon',
      name: 'myapp.sub.outer',
      runtime: 'mesos',
      state: 'TASK_RUNNING',
      networks: [{ mode: 'container', name: 'dcos', addresses: ['9.0.1.3'] }],
      ports: [{ name: 'http', protocol: 'tcp', container_port: 8080 }],
      staged_at: '1970-01-01T00:00:00.000Z',
      status_at: '1970-01-01T00:00:00.000Z',
      ...task,
    }),
    ...more,
  };
}

const lines = (task: ViewedTask): string[] =>
  taskRecords(task).map(({ name, ttl, data }) => `${name} ${ttl} ${data.type} ${dataText(data)}`);

describe('names of a task', () => {
  it('are those of DC/OS and of Mesos-DNS, for a container on an overlay', () => {
    const hash = taskHash('outer_sub_myapp.instance-1._app.1');
    const canonical = `myapp-sub-outer-${hash}-nabcdefghijklmnopqrstuvwxyz`;
    expect(lines(viewed()).toSorted()).toEqual(
      [
        'myapp-sub-outer.marathon.agentip.dcos.thisdcos.directory 5 A 10.0.0.11',
        'myapp-sub-outer.marathon.containerip.dcos.thisdcos.directory 5 A 9.0.1.3',
        'myapp-sub-outer.marathon.autoip.dcos.thisdcos.directory 5 A 9.0.1.3',
        '3.1.0.9.in-addr.arpa 5 PTR myapp-sub-outer.marathon.containerip.dcos.thisdcos.directory.',
        'myapp-sub-outer.marathon.mesos 60 A 9.0.1.3',
        'myapp-sub-outer.marathon.slave.mesos 60 A 10.0.0.11',
        'myapp.sub.outer.marathon.mesos 60 A 9.0.1.3',
        'myapp.sub.outer.marathon.slave.mesos 60 A 10.0.0.11',
        `${canonical}.marathon.mesos 60 A 9.0.1.3`,
        `${canonical}.marathon.slave.mesos 60 A 10.0.0.11`,
        `_myapp-sub-outer._tcp.marathon.mesos 60 SRV ${canonical}.marathon.mesos.:8080`,
        `_http._myapp-sub-outer._tcp.marathon.mesos 60 SRV ${canonical}.marathon.mesos.:8080`,
        `_myapp.sub.outer._tcp.marathon.mesos 60 SRV ${canonical}.marathon.mesos.:8080`,
        `_http._myapp.sub.outer._tcp.marathon.mesos 60 SRV ${canonical}.marathon.mesos.:8080`,
      ].toSorted(),
    );
  });

  it("lead to the agent where the port is the agent's", () => {
    const all = lines(
      viewed({
        name: 'web',
        networks: [{ mode: 'bridge', addresses: ['172.17.0.5'] }],
        ports: [{ protocol: 'udp', container_port: 53, host_port: 31_000 }],
      }),
    );
    expect(all).toContain('web.marathon.autoip.dcos.thisdcos.directory 5 A 10.0.0.11');
    expect(all.filter((line) => line.startsWith('_web'))).toEqual([
      expect.stringMatching(/^_web\._udp\.marathon\.mesos 60 SRV web-.*\.slave\.mesos\.:31000$/),
      expect.stringMatching(/^_web\._udp\.marathon\.slave\.mesos 60 SRV web-.*\.slave\.mesos\.:31000$/),
    ]);
    // Every host has that bridge's addresses: they mean nobody.
    expect(all.some((line) => line.includes('in-addr.arpa'))).toBe(false);
  });

  it('are there for running tasks only, and kept when the host cannot be reached', () => {
    expect(taskRecords(viewed({ state: 'TASK_KILLING' }))).toEqual([]);
    expect(taskRecords(viewed({ draining: true }))).toEqual([]);
    const hidden = taskRecords(viewed({}, { reachable: false }));
    expect(hidden.length).toBe(taskRecords(viewed()).length);
    expect(hidden.every((record) => !record.preferred)).toBe(true);
  });

  it('are less preferred while a check has not passed, so that nobody is sent to a task that does not listen yet', () => {
    const preferred = (task: object): boolean => taskRecords(viewed(task)).every((each) => each.preferred);
    const none = (task: object): boolean => taskRecords(viewed(task)).every((each) => !each.preferred);
    expect(preferred({})).toBe(true);
    expect(none({ checked: true })).toBe(true);
    expect(none({ checked: true, healthy: false })).toBe(true);
    expect(preferred({ checked: true, healthy: true })).toBe(true);
    expect(taskRecords(viewed({ checked: true })).length).toBe(taskRecords(viewed()).length);
  });

  it('leaves out what is no name', () => {
    expect(taskRecords(viewed({ name: '///' }))).toEqual([]);
    const framework = Array.from({ length: 5 }, () => 'a'.repeat(60)).join('.');
    expect(taskRecords(viewed({ framework })).every(({ name }) => name.endsWith('.in-addr.arpa'))).toBe(true);
  });

  it('hashes as Mesos-DNS does', () => {
    // SHA-1 of the empty text begins with da39a3ee, its first 25 bits in z-base-32 are these.
    expect(taskHash('')).toBe('5eh48');
  });
});
