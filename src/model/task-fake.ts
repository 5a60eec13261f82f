/** Launches for tests. */
import { taskLaunch, type TaskLaunch } from './task.ts';

export function launchOf(id: string, change: Readonly<Record<string, unknown>> = {}): TaskLaunch {
  return taskLaunch.parse({
    id,
    app: '/web',
    version: '2026-01-02T03:04:05.000Z',
    instance: id,
    framework: 'marathon',
    name: 'web',
    runtime: 'mesos',
    shell: 'sleep 1000',
    env: {},
    labels: {},
    networks: [{ mode: 'container', name: 'dcos' }],
    ports: [],
    resources: { cpus: 0.1, mem_mib: 64, disk_mib: 0, gpus: 0 },
    kill_grace_s: 3,
    goal: 'running',
    ...change,
  });
}
