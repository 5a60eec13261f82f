import { describe, expect, test } from 'vitest';
import type { Command } from 'commander';
import type { CliContext, PrintOptions } from '../context.ts';
import type { NodeId } from '../../model/names.ts';
import { judgeApplied } from '../../node/applied.ts';
import { command as network } from './network.ts';
import { command as node } from './node.ts';
import { command as status } from './status.ts';

/** A context that remembers what was asked, said and printed, and answers `answer`. */
function recorder(answer: unknown, applied?: unknown) {
  const asked: string[] = [];
  const said: string[] = [];
  const told: string[] = [];
  const printed: { rows: unknown; options: PrintOptions }[] = [];
  const context: CliContext = {
    clusterApi: () => Promise.resolve({ socketPath: '/api.sock' }),
    masterApi: () => Promise.resolve({ socketPath: '/api.sock' }),
    agentApi: () => Promise.resolve({ socketPath: '/agent.sock' }),
    call: (_target, { method, path, body }) => {
      asked.push([method, path, ...(body === undefined ? [] : [JSON.stringify(body)])].join(' '));
      return Promise.resolve(path.startsWith('/v1/applied') ? applied : answer);
    },
    print: (rows, options) => void printed.push({ rows, options }),
    tell: (line) => void told.push(line),
    say: (line) => void said.push(line),
  };
  const run = (make: (context: CliContext) => Command, ...words: string[]) => {
    const verb = make(context);
    for (const each of [verb, ...verb.commands])
      each.exitOverride().configureOutput({ writeErr: () => undefined });
    return verb.parseAsync(words, { from: 'user' });
  };
  return { asked, said, told, printed, run };
}

const nothing = { revision: 5, set: 'five' };
const agent1 = { id: 'n1', name: 'agent1', address: '10.0.0.11', overlays: { dcos: '9.0.0.0/24' } };

describe('portolan node', () => {
  test('ls prints a table with blocks in one cell, and JSON as the API has it', async () => {
    const { asked, printed, run } = recorder({ nodes: [agent1] });
    await run(node, 'ls');
    await run(node, 'ls', '-o', 'json');
    expect(asked).toEqual(['GET /v1/nodes', 'GET /v1/nodes']);
    expect(printed.map(({ rows }) => rows)).toEqual([
      [{ ...agent1, overlays: ['dcos 9.0.0.0/24'] }],
      [agent1],
    ]);
  });

  test('rm removes each node and says which', async () => {
    const { asked, said, run } = recorder(agent1);
    await run(node, 'rm', 'agent1', 'fd00::1');
    expect(asked).toEqual(['DELETE /v1/nodes/agent1', 'DELETE /v1/nodes/fd00%3A%3A1']);
    expect(said[0]).toBe('removed agent1 (10.0.0.11, n1)');
  });

  test('inspect prints YAML unless told otherwise', async () => {
    const { printed, run } = recorder(agent1);
    await run(node, 'inspect', 'agent1');
    expect(printed).toEqual([{ rows: agent1, options: { output: 'yaml' } }]);
  });
});

describe('portolan status', () => {
  test('prints blocks in one cell, and how many endpoints a node has', async () => {
    const answer = { nodes: [agent1], endpoints: [{ node: 'n1' }, { node: 'n2' }] };
    const { printed, run } = recorder(answer, judgeApplied(0, nothing, []));
    await run(status);
    expect(printed[0]?.rows).toEqual([{ ...agent1, overlays: ['dcos 9.0.0.0/24'], endpoints: 1 }]);
  });

  test('says who is unreachable and for whom, and how far the last change has come', async () => {
    const nodes = [
      { ...agent1, state: 'alive', unreachable_for: [] },
      { ...agent1, id: 'n2', name: 'agent2', state: 'unreachable', unreachable_for: ['agent1', 'agent3'] },
      { ...agent1, id: 'n3', name: 'agent3', state: 'alive', unreachable_for: ['agent1'] },
    ];
    const agents = nodes.map(({ id, name, state }) => ({
      ...{ node: id as NodeId, name, reachable: state === 'alive' },
      ...(state === 'alive' ? { applied: { ...nothing, at: 0, took_ms: 0 }, afterMs: 12 } : {}),
    }));
    const { told, run } = recorder({ nodes, endpoints: [] }, judgeApplied(5, nothing, agents));
    await run(status);
    expect(told).toEqual([
      '3 nodes, 2 reachable; unreachable: agent2 (also for agent1, agent3); unreachable for others: agent3 (for agent1)',
      'revision 5 applied on 2/3, slowest 12 ms (agent1)',
      '  agent2: unreachable, none known',
    ]);
  });

  test('waits for a revision, and fails when it is not applied in time', async () => {
    const behind = { node: 'n1' as NodeId, name: 'agent1', reachable: true };
    const { asked, told, run } = recorder({}, judgeApplied(5, nothing, [behind]));
    await run(status, '--wait', '5', '--timeout', '2');
    expect(asked).toEqual(['GET /v1/applied?wait=2&revision=5']);
    expect(told).toEqual(['revision 5 applied on 0/1', '  agent1: tells no revision']);
    expect(process.exitCode).toBe(1);
    process.exitCode = 0;
  });

  test('says that a revision is not known rather than whom it lacks', async () => {
    const { told, run } = recorder({}, judgeApplied(9, nothing, []));
    await run(status, '--wait', '9');
    expect(told).toEqual(['revision 9 applied on 0/0', '  the newest revision known here is 5']);
    process.exitCode = 0;
  });
});

describe('portolan network', () => {
  test('add sends what was given', async () => {
    const { asked, run } = recorder({});
    await run(network, 'add', 'extra', '--subnet', '10.64.0.0/16', '--prefix', '24');
    expect(asked).toEqual([
      'POST /v1/networks {"name":"extra","subnet":"10.64.0.0/16","prefix":24,"enabled":true}',
    ]);
  });

  test('add refuses a prefix that is no number, before anything is asked', async () => {
    const { asked, run } = recorder({});
    await expect(run(network, 'add', 'extra', '--prefix', 'big')).rejects.toThrow('a number such as 24');
    expect(asked).toEqual([]);
  });

  test('rm asks for each', async () => {
    const { asked, run } = recorder({});
    await run(network, 'rm', 'a', 'b');
    expect(asked).toEqual(['DELETE /v1/networks/a', 'DELETE /v1/networks/b']);
  });
});
