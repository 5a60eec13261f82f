/**
 * Runs inside a network namespace and does there what the test says over IPC: serve, ask, keep a connection.
 *
 * A server answers everything it receives with the address it came from, so the asker learns what was translated.
 */
import { createSocket } from 'node:dgram';
import net from 'node:net';

const sessions = new Map();

const kindOf = (address) => (net.isIPv6(address) ? 'udp6' : 'udp4');

const actions = {
  listen: ({ protocol, port, address }) =>
    new Promise((resolve, reject) => {
      const host = address ?? '0.0.0.0';
      if (protocol === 'udp') {
        const socket = createSocket(kindOf(host));
        socket.on('message', (_, { address: from, port: to }) => socket.send(from, to, from));
        socket.on('error', reject);
        socket.bind(port, host, () => resolve('listening'));
        return;
      }
      const server = net.createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.on('data', () => socket.write(socket.remoteAddress ?? ''));
      });
      server.on('error', reject);
      server.listen({ port, host, ipv6Only: net.isIPv6(host) }, () => resolve('listening'));
    }),

  ask: ({ protocol, to, port, timeoutMs }) => (protocol === 'udp' ? askUdp : askTcp)(to, port, timeoutMs),

  connect: ({ session, to, port }) =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ host: to, port }, () => resolve('connected'));
      socket.on('error', reject);
      sessions.set(session, socket);
    }),

  say: ({ session }) =>
    new Promise((resolve, reject) => {
      const socket = sessions.get(session);
      socket.once('data', (data) => resolve(data.toString()));
      socket.once('close', () => reject(new Error('closed')));
      socket.write('hello');
    }),
};

function askTcp(to, port, timeoutMs) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: to, port }, () => socket.write('hello'));
    const done = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(timeoutMs, () => done('timeout'));
    socket.on('error', (error) => done(error.code ?? 'failed'));
    socket.on('data', (data) => done(data.toString()));
  });
}

function askUdp(to, port, timeoutMs) {
  return new Promise((resolve) => {
    const socket = createSocket(kindOf(to));
    const done = (answer) => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => done('timeout'), timeoutMs);
    socket.on('error', (error) => done(error.code ?? 'failed'));
    socket.on('message', (data) => done(data.toString()));
    socket.connect(port, to, () => socket.send('hello'));
  });
}

async function perform({ id, action, options }) {
  try {
    process.send({ id, answer: await actions[action](options) });
  } catch (error) {
    process.send({ id, error: error.message });
  }
}
process.on('message', (request) => void perform(request));
process.on('disconnect', () => process.exit(0));
process.send({ id: 0, answer: 'ready' });
