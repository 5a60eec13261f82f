import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tcpSocketIn } from '../../kernel/netns-socket.ts';
import { mustRun } from '../../runtime/command.ts';
import { probeHttp, probeTcp } from './probes.ts';

const name = `plbprobe${randomBytes(2).toString('hex')}`;
const netns = `/run/netns/${name}`;
const inside = (...words: string[]): string[] => ['nsenter', `--net=${netns}`, '--', ...words];
const options = { timeoutMs: 10_000 };
const components = { socketIn: tcpSocketIn };
let server: ChildProcess | undefined;

/** Answers 200 to `/`, 503 to `/sick`, and nothing to `/silent`. */
const program = `
require('node:http').createServer((request, response) => {
  if (request.url === '/silent') return;
  response.writeHead(request.url === '/sick' ? 503 : 200).end('x');
}).listen(8123, '127.0.0.1', () => console.log('ready'));
`;

beforeAll(async () => {
  await mustRun(['ip', 'netns', 'add', name], options);
  await mustRun(inside('ip', 'link', 'set', 'lo', 'up'), options);
  const [command = '', ...args] = inside(process.execPath, '-e', program);
  server = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => server?.stdout?.once('data', resolve));
});

afterAll(async () => {
  server?.kill('SIGKILL');
  await mustRun(['ip', 'netns', 'del', name], options);
});

const target = { host: '127.0.0.1', port: 8123, netns };
const http = (path: string, timeoutMs = 20_000) =>
  probeHttp(components, { target, secure: false, path, timeoutMs });

it('asks a server on 127.0.0.1 of another network namespace, which nobody outside can', async () => {
  expect(await http('/')).toEqual({ status: 200 });
  expect(await http('/sick')).toEqual({ status: 503 });
  await probeTcp(components, target, 20_000);
  await expect(probeTcp(components, { host: '127.0.0.1', port: 8123 }, 20_000)).rejects.toThrow(
    'ECONNREFUSED',
  );
});

it('says why there is no answer', async () => {
  await expect(probeTcp(components, { ...target, port: 8124 }, 20_000)).rejects.toThrow('ECONNREFUSED');
  await expect(http('/silent', 200)).rejects.toThrow('no answer within 0.2 s');
});
