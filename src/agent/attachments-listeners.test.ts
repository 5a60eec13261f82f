import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { portPerhapsInUse } from '../kernel/port-probe.ts';
import { meets, occupiedPort, parseListeners } from './attachments-listeners.ts';

const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0000000000000000 100 0 0 10 0
   2: 0100000A:0050 0200000A:D431 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0000000000000000 20 4 30 10 -1
`;
const tcp6 = `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1
   1: 0000000000000000FFFF00000100000A:0052 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8 1
`;

describe('listeners of the host', () => {
  test('only listening sockets count, with their address', () => {
    const found = (text: string): readonly string[] =>
      parseListeners(text, 'tcp').map(({ address, port, inode }) => `${address} ${port} ${inode}`);
    expect(found(tcp)).toEqual(['127.0.0.1 8080 1', '0.0.0.0 22 2']);
    expect(found(tcp6)).toEqual(['::1 81 7', '10.0.0.1 82 8']);
    expect(parseListeners('garbage', 'udp')).toEqual([]);
  });
  test('a mapping for one address meets only listeners that would get its packets', () => {
    const listeners = parseListeners(tcp, 'tcp');
    const meet = (hostPort: number, hostIP?: string): boolean =>
      listeners.some((listener) =>
        meets({ hostPort, containerPort: 1, protocol: 'tcp', ...(hostIP && { hostIP }) }, listener),
      );
    expect(meet(8080)).toBe(true);
    expect(meet(8080, '10.0.0.1')).toBe(false);
    expect(meet(22, '10.0.0.1')).toBe(true);
    expect(meet(80)).toBe(false);
  });
  test('a port from which only a connection goes out is free', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const client = connect({ port, host: '127.0.0.1' });
    await new Promise((resolve) => client.once('connect', resolve));
    const mapping = { hostPort: client.localPort ?? 0, containerPort: 80, protocol: 'tcp' as const };
    expect(await occupiedPort({ portPerhapsInUse: () => true }, [mapping], 'c')).toBeUndefined();
    client.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  test('a real listener is found, and whose it is', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const hostPort = typeof address === 'object' && address !== null ? address.port : 0;
    const mapping = { hostPort, containerPort: 80, protocol: 'tcp' as const };
    const found = await occupiedPort({ portPerhapsInUse }, [mapping], 'c');
    expect(found).toEqual({
      mapping,
      process: expect.stringMatching(new RegExp(`^${process.pid} "`)) as string,
    });
    await new Promise((resolve) => server.close(resolve));
    expect(await occupiedPort({ portPerhapsInUse }, [mapping], 'c')).toBeUndefined();
  });
  test("a port that a container's own supervisor holds is free for that container", async () => {
    // As podman's conmon does for published ports, with the container's id among its arguments.
    const reserve = `const s = require('net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))`;
    const id = randomBytes(32).toString('hex');
    const supervisor = spawn(process.execPath, ['-e', reserve, '--', id], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [port] = (await once(supervisor.stdout, 'data')) as [Buffer];
    const mapping = { hostPort: Number(port.toString()), containerPort: 80, protocol: 'tcp' as const };
    expect(await occupiedPort({ portPerhapsInUse }, [mapping], id)).toBeUndefined();
    const other = randomBytes(32).toString('hex');
    expect(await occupiedPort({ portPerhapsInUse }, [mapping], other)).toEqual({
      mapping,
      process: `${supervisor.pid} "node"`,
    });
    supervisor.kill();
    await once(supervisor, 'close');
  });
});
