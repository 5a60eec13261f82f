import { afterAll, beforeAll } from 'vitest';
import { startTestDockerd, type TestDockerd } from '../../test/support/dockerd.ts';
import { mustRun, runCommand } from './command.ts';
import { dockerContract } from './docker-contract.ts';
import { openDocker } from './docker.ts';

const namespace = `pdk-api-${process.pid}`;
let daemon: TestDockerd;

beforeAll(async () => {
  await mustRun(['ip', 'netns', 'add', namespace], { timeoutMs: 10_000 });
  daemon = await startTestDockerd(namespace);
});

afterAll(async () => {
  await daemon?.stop();
  await runCommand(['ip', 'netns', 'del', namespace], { timeoutMs: 10_000 });
});

dockerContract('the real daemon', () => ({
  docker: openDocker(daemon.socket),
  run: (name, network) => daemon.run('--name', name, '--network', network, '--label', 'a=b'),
  kill: async (id) => {
    await daemon.docker('rm', '-f', id);
  },
}));
