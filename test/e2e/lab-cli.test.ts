/** The lab as a user types it: output, exit codes, errors. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestLab } from '../support/lab.ts';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function portolan(...words: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile('bin/portolan', words, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

describe('portolan lab', () => {
  const lab = new TestLab('plbu');
  const on = ['--lab', lab.name] as const;
  /** The program inside a host, as if one were logged in there. */
  const inside = (host: string, ...words: readonly string[]): Promise<Outcome> =>
    portolan('lab', 'exec', host, ...on, '--', 'portolan', ...words);

  beforeAll(() => lab.up({ hosts: 2 }));
  afterAll(() => lab.down());

  it('prints its hosts as a table and as JSON', async () => {
    expect((await portolan('lab', 'status', ...on)).stdout).toMatch(/^HOST +ROLE +UNDERLAY/);
    const rows = JSON.parse((await portolan('lab', 'status', ...on, '-o', 'json')).stdout) as {
      host: string;
    }[];
    expect(rows.map((row) => row.host)).toEqual(['master1', 'agent1', 'agent2']);
  });

  it("passes a command's output and exit status through", async () => {
    const outcome = await portolan('lab', 'exec', 'agent1', ...on, '--', 'sh', '-c', 'hostname; exit 42');
    expect(outcome).toMatchObject({ code: 42, stdout: 'agent1\n' });
  });

  it("tells an agent's user the same of a node in the list as alone", async () => {
    const listed = JSON.parse((await inside('agent1', 'node', 'ls', '-o', 'json')).stdout) as object[];
    const alone = JSON.parse((await inside('agent1', 'node', 'inspect', 'agent2', '-o', 'json')).stdout) as {
      link?: unknown;
      resources?: unknown;
      state_since?: unknown;
    };
    // Told of one node alone.
    delete alone.link;
    delete alone.resources;
    // Reckoned back from now, by two clocks, each time.
    delete alone.state_since;
    expect(listed).toContainEqual(expect.objectContaining(alone));
    expect(alone).toMatchObject({ name: 'agent2', vtep_ip: expect.stringMatching(/^44\.128\./) as string });
  });

  it('runs, lists, enters, reads and removes a container', async () => {
    const started = await portolan(
      ...[
        'lab',
        'run',
        'agent1',
        ...on,
        '--name',
        'web',
        '--label',
        'tier=front',
        '--publish',
        '8080:80',
        '--',
      ],
      ...['busybox', 'sh', '-c', 'echo started; exec busybox sleep 1000'],
    );
    expect(started).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/web +agent1 +9\.0\./) as string,
    });
    const { stdout } = await inside('agent1', 'container', 'ls', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'web', state: 'running', labels: { tier: 'front' } }]);
    expect((await inside('agent1', 'container', 'exec', 'web', '--', 'hostname')).stdout).toBe('web\n');
    expect((await inside('agent1', 'container', 'exec', 'web', '--', 'sh', '-c', 'exit 7')).code).toBe(7);
    expect((await inside('agent1', 'container', 'logs', 'web')).stdout).toBe('started\n');
    const refused = await inside('agent1', 'container', 'rm', 'web');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('add --force') as string });
    expect((await inside('agent1', 'container', 'rm', '--force', 'web')).code).toBe(0);
    expect((await inside('agent1', 'container', 'ls', '-o', 'json')).stdout).toBe('[]\n');
  });

  it('stays with a container in the foreground, and ends it when it is ended', async () => {
    const script = 'echo out; echo err >&2; exit 3';
    const run = (...words: readonly string[]): Promise<Outcome> =>
      inside('agent1', 'container', 'run', ...words);
    // Without "--": what follows the program is the program's.
    expect(await run('--rm', 'busybox', 'sh', '-c', script)).toEqual({
      code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    const host = await lab.tools.startOnHost('agent1', [
      ...[
        `${process.cwd()}/bin/portolan`,
        'container',
        'run',
        '--name',
        'front',
        '--',
        'busybox',
        'sh',
        '-c',
      ],
      'trap "echo told; exit 4" TERM; echo ready; while :; do busybox sleep 0.1; done',
    ]);
    const ended = once(host, 'close');
    const followed = async (): Promise<string> =>
      (await inside('agent1', 'container', 'logs', 'front')).stdout;
    await expect.poll(followed).toBe('ready\n');
    host.kill('SIGTERM');
    expect(await ended).toEqual([4, null]);
    expect((await inside('agent1', 'container', 'logs', '-f', 'front')).stdout).toBe('ready\ntold\n');
    await inside('agent1', 'container', 'rm', 'front');
    // Whoever reads it has enough of it.
    expect(
      await lab.sh('agent1', `${process.cwd()}/bin/portolan container run --rm busybox yes | head -1`),
    ).toBe('y\n');
    expect((await inside('agent1', 'container', 'ls', '-o', 'json')).stdout).toBe('[]\n');
  });

  it.each([
    [['lab', 'exec', 'agent9', ...on, '--', 'true'], 1, 'choose one of master1, agent1, agent2'],
    [['lab', 'status', '--lab', 'plb-none'], 1, lab.name],
    [['lab', 'up', '--lab', 'Not A Name'], 2, 'lower-case'],
    [['lab', 'up', ...on, '--hosts', 'many'], 2, 'whole number'],
    [['lab', 'up', ...on, '--masters', '2'], 2, 'use one master'],
    [['lab', 'run', 'agent1', ...on, '--runtime', 'docker', '--name', 'x', '--', 'true'], 1, '--docker'],
    [['lab', 'fly'], 2, 'fly'],
  ])('answers %j with exit code %i and what to do', async (words, code, remedy) => {
    const outcome = await portolan(...words);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toContain(remedy);
  });
});
