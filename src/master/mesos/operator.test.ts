import { describe, expect, it } from 'vitest';
import { agent, facts, task } from '../../../test/support/mesos-facts.ts';
import { getState } from './operator.ts';
import { differences, record, toldOf } from './subscription.ts';

describe('the operator API', () => {
  it('tells the state with ids as objects', () => {
    expect(getState(facts())).toMatchObject({
      get_tasks: {
        tasks: [
          {
            task_id: { value: 'web.instance-00000000-0000-0000-0000-000000000001._app.1' },
            framework_id: { value: 'c1-0000' },
            agent_id: { value: 'n1' },
            state: 'TASK_RUNNING',
            labels: { labels: [{ key: 'env', value: 'prod' }] },
            statuses: [
              { container_status: { network_infos: [{ ip_addresses: [{ ip_address: '9.0.1.2' }] }] } },
            ],
          },
        ],
      },
      get_frameworks: { frameworks: [{ framework_info: { id: { value: 'c1-0000' }, name: 'marathon' } }] },
      get_agents: {
        agents: [{ agent_info: { id: { value: 'n1' }, hostname: '10.0.0.1' }, active: true }, {}],
      },
    });
  });

  it('writes records with their length', () => {
    expect(String(record({ type: 'HEARTBEAT' }))).toBe('20\n{"type":"HEARTBEAT"}');
    expect(String(record({ a: 'ä' }))).toBe('10\n{"a":"ä"}');
  });

  it('tells what has changed, and nothing else', () => {
    const before = facts();
    expect(differences(toldOf(before), facts())).toEqual([]);
    const after = facts({
      agents: [agent(1), agent(2, { reachable: false }), agent(3)],
      tasks: [task(1, { healthy: false }), task(3)],
    });
    expect(differences(toldOf(before), after)).toMatchObject([
      { type: 'AGENT_ADDED', agent_added: { agent: { agent_info: { id: { value: 'n3' } } } } },
      {
        type: 'TASK_UPDATED',
        task_updated: {
          state: 'TASK_RUNNING',
          status: { healthy: false },
          framework_id: { value: 'c1-0000' },
        },
      },
      { type: 'TASK_ADDED', task_added: { task: { agent_id: { value: 'n3' } } } },
      { type: 'AGENT_REMOVED', agent_removed: { agent_id: { value: 'n2' } } },
    ]);
  });

  it('ends a task whose record is gone, and not one that had ended', () => {
    const before = facts({ completed: [task(2, { state: 'TASK_FAILED' })] });
    expect(differences(toldOf(before), facts({ tasks: [] }))).toMatchObject([
      {
        type: 'TASK_UPDATED',
        task_updated: { state: 'TASK_GONE', status: { state: 'TASK_GONE', agent_id: { value: 'n1' } } },
      },
    ]);
  });
});
