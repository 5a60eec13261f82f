import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { portHolders } from './port-holders.ts';

const closers: (() => unknown)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

describe('who has a port', () => {
  it.each(['udp4', 'udp6'] as const)('is told of %s', async (type) => {
    const socket = createSocket(type).bind(0, type === 'udp4' ? '127.0.0.1' : '::1');
    closers.push(() => socket.close());
    await once(socket, 'listening');
    const { port } = socket.address();
    expect([...portHolders('udp', port)]).toEqual([process.pid]);
    expect([...portHolders('tcp', port)]).toEqual([]);
  });

  it('is told of TCP by who listens, not by who is connected', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    closers.push(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const program = `require('net').connect(${port}, '127.0.0.1').on('connect', () => console.log('up'))`;
    const client = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    closers.push(() => client.kill('SIGKILL'));
    await once(client.stdout, 'data');
    expect([...portHolders('tcp', port)]).toEqual([process.pid]);
  });

  it('is nobody when nobody has it', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    socket.close();
    await once(socket, 'close');
    expect(portHolders('udp', port).size).toBe(0);
  });
});
