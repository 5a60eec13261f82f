/** Tasks for tests of VIPs. */
import type { NodeId } from '../model/names.ts';
import { taskRecord, type TaskPort, type TaskRecord } from '../model/task.ts';
import type { ViewedTask } from '../model/task-view.ts';

export const fakeNode = (index: number): NodeId => `n${String.fromCharCode(96 + index).repeat(25)}` as NodeId;

/** Task `index` of node `index`, on an overlay, with one port. */
export function fakeTask(
  index: number,
  labels: Readonly<Record<string, string>>,
  over: Partial<Omit<ViewedTask, 'task'>> & {
    readonly task?: Partial<TaskRecord>;
    readonly port?: Partial<TaskPort>;
  } = {},
): ViewedTask {
  const { task, port, ...view } = over;
  const id = `t${index}`;
  return {
    id,
    node: fakeNode(index),
    host: `h${index}`,
    agentIp: `10.0.0.${index}`,
    reachable: true,
    ...view,
    task: {
      ...taskRecord.parse({
        ...{ id, app: '/app', version: 'v', framework: 'marathon', name: 'app', runtime: 'mesos' },
        ...{ state: 'TASK_RUNNING', staged_at: 's', status_at: 's' },
        networks: [{ mode: 'container', name: 'dcos', addresses: [`9.0.${index}.2`] }],
        ports: [{ protocol: 'tcp', container_port: 80, labels, ...port }],
      }),
      ...task,
    },
  };
}
