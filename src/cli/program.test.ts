import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runProgram } from './program.ts';

/** On a host without daemons: what is understood fails with 1 for want of them, what is not with 2. */
let said: string;
beforeEach(() => {
  said = '';
  vi.stubEnv('PORTOLAN_RUN_DIR', '/nonexistent');
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('portolan', () => {
  it.each([
    [['container', 'exec', 'web', 'sh', '-c', 'exit 7']],
    [['container', 'exec', 'web', '--', 'sh', '-c', 'exit 7']],
    [['container', 'exec', '-i', 'web', 'ls', '--api', 'its own']],
    [['container', 'run', 'busybox', 'ping', '-c1', '9.0.1.2']],
    [['container', 'run', '--rm', 'busybox', 'wget', '--version']],
  ])("leaves a container's program its own options: %j", async (words) => {
    expect(await runProgram(words)).toBe(1);
    expect(said).toContain('/nonexistent/agent.sock');
  });

  it.each([
    [['--api', 'unix:///elsewhere/api.sock', 'node', 'ls']],
    [['node', '--api', 'unix:///elsewhere/api.sock', 'ls']],
    [['node', 'ls', '--api=unix:///elsewhere/api.sock', '-o', 'json']],
  ])('takes --api before and behind the verb: %j', async (words) => {
    expect(await runProgram(words)).toBe(1);
    expect(said).toContain('/elsewhere/api.sock');
  });

  it.each([
    [['node', 'ls', '--nonesuch'], "unknown option '--nonesuch'"],
    [['container', 'run', '-it', 'busybox', 'sh'], 'portolan container exec -it NAME'],
  ])('refuses %j with 2', async (words, why) => {
    expect(await runProgram(words)).toBe(2);
    expect(said).toContain(why);
  });
});
