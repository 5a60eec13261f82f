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
   0: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000
`;

describe('listeners of the host', () => {
  test('only listening sockets count, with their address', () => {
    const found = parseListeners(tcp, 'tcp').map(({ address, port }) => `${address} ${port}`);
    expect(found).toEqual(['127.0.0.1 8080', '0.0.0.0 22']);
    expect(parseListeners(tcp6, 'tcp').map(({ address, port }) => `${address} ${port}`)).toEqual(['::1 81']);
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
    expect(await occupiedPort({ portPerhapsInUse: () => true }, [mapping])).toBeUndefined();
    client.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  test('a real listener is found', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const hostPort = typeof address === 'object' && address !== null ? address.port : 0;
    const mapping = { hostPort, containerPort: 80, protocol: 'tcp' as const };
    expect(await occupiedPort({ portPerhapsInUse }, [mapping])).toEqual(mapping);
    await new Promise((resolve) => server.close(resolve));
    expect(await occupiedPort({ portPerhapsInUse }, [mapping])).toBeUndefined();
  });
});
