import { describe, expect, test } from 'vitest';
import type { Command } from 'commander';
import type { CliContext, PrintOptions } from '../context.ts';
import { command as network } from './network.ts';
import { command as node } from './node.ts';
import { command as status } from './status.ts';

/** A context that remembers what was asked, said and printed, and answers `answer`. */
function recorder(answer: unknown) {
  const asked: string[] = [];
  const said: string[] = [];
  const printed: { rows: unknown; options: PrintOptions }[] = [];
  const context: CliContext = {
    clusterApi: () => Promise.resolve({ socketPath: '/api.sock' }),
    agentApi: () => Promise.resolve({ socketPath: '/agent.sock' }),
    call: (_target, { method, path, body }) => {
      asked.push([method, path, ...(body === undefined ? [] : [JSON.stringify(body)])].join(' '));
      return Promise.resolve(answer);
    },
    print: (rows, options) => void printed.push({ rows, options }),
    say: (line) => void said.push(line),
  };
  const run = (make: (context: CliContext) => Command, ...words: string[]) => {
    const verb = make(context);
    for (const each of [verb, ...verb.commands])
      each.exitOverride().configureOutput({ writeErr: () => undefined });
    return verb.parseAsync(words, { from: 'user' });
  };
  return { asked, said, printed, run };
}

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
    const { printed, run } = recorder({ nodes: [agent1], endpoints: [{ node: 'n1' }, { node: 'n2' }] });
    await run(status);
    expect(printed[0]?.rows).toEqual([{ ...agent1, overlays: ['dcos 9.0.0.0/24'], endpoints: 1 }]);
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
