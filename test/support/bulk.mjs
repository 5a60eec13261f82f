/**
 * One long TCP stream, checked to the byte. Servers: `node bulk.mjs serve PORT` takes streams, `node bulk.mjs source PORT MIB`
 * gives them. Clients: `node bulk.mjs send ADDRESS PORT MIB`, `node bulk.mjs abort ADDRESS PORT MIB`, which cuts its stream off,
 * `node bulk.mjs fetch ADDRESS PORT`.
 *
 * A server that takes answers with the digest of what it got, and who sent it; the client prints that and its own digest, or
 * why there is no answer. A client that fetches prints the digest of what it got; the server says the digest first.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const [what, ...args] = process.argv.slice(2);
const CHUNK = 1 << 20;

function chunk(index) {
  const bytes = Buffer.alloc(CHUNK);
  for (let at = 0; at < CHUNK; at += 4) bytes.writeUInt32LE((at * 2654435761 + index * 40503) >>> 0, at);
  return bytes;
}

/** Ends early when the socket does. */
async function give(socket, mib, hash) {
  for (let i = 0; i < mib && !socket.destroyed; i++) {
    const bytes = chunk(i);
    hash.update(bytes);
    if (!socket.write(bytes))
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
  }
  socket.end();
}

function listen(port, onSocket) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  server.listen(Number(port), '::', () => console.log('ready'));
}

const digest = createHash('sha1');
const open = (address, port) => {
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true });
  socket.setTimeout(5000, () => socket.destroy(new Error('ETIMEDOUT')));
  socket.on('error', (error) => console.log(JSON.stringify({ error: error.code ?? error.message })));
  return socket;
};

switch (what) {
  case 'serve':
    listen(args[0], (socket) => {
      const hash = createHash('sha1');
      socket.on('data', (data) => hash.update(data));
      socket.on('end', () =>
        socket.end(`${hash.digest('hex')} ${socket.remoteAddress.replace('::ffff:', '')}`),
      );
    });
    break;
  case 'source': {
    const hash = createHash('sha1');
    for (let i = 0; i < Number(args[1]); i++) hash.update(chunk(i));
    const told = hash.digest('hex');
    listen(args[0], (socket) => {
      socket.resume();
      socket.write(told);
      void give(socket, Number(args[1]), createHash('sha1'));
    });
    break;
  }
  case 'send': {
    const socket = open(args[0], args[1]);
    let got = '';
    socket.on('data', (data) => (got += data));
    socket.on('end', () => console.log(JSON.stringify({ sent: digest.digest('hex'), got })));
    await give(socket, Number(args[2]), digest);
    break;
  }
  case 'abort': {
    const socket = open(args[0], args[1]);
    for (let i = 0; i < Number(args[2]); i++) if (!socket.write(chunk(i))) await once(socket, 'drain');
    socket.resetAndDestroy();
    break;
  }
  case 'fetch': {
    const socket = open(args[0], args[1]);
    const HEX = 40;
    let head = Buffer.alloc(0);
    socket.on('data', (data) => {
      const missing = Math.max(0, HEX - head.length);
      head = Buffer.concat([head, data.subarray(0, missing)]);
      digest.update(data.subarray(missing));
    });
    socket.on('end', () => {
      console.log(JSON.stringify({ sent: head.toString(), got: digest.digest('hex') }));
      socket.end();
    });
    break;
  }
  default:
    throw new Error(`no such mode: ${what}`);
}
