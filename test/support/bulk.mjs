/**
 * One long TCP stream, checked to the byte: `node bulk.mjs serve PORT`, `node bulk.mjs send ADDRESS PORT MIB`.
 *
 * The server answers each stream with the digest of what it got, and prints who sent it; the client prints both digests, or
 * why there is no answer.
 */
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';

const [what, ...args] = process.argv.slice(2);
const CHUNK = 1 << 20;

if (what === 'serve') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha1');
    socket.on('error', () => undefined);
    socket.on('data', (data) => hash.update(data));
    socket.on('end', () =>
      socket.end(`${hash.digest('hex')} ${socket.remoteAddress.replace('::ffff:', '')}`),
    );
  });
  server.listen(Number(args[0]), '::', () => console.log('ready'));
} else {
  const [address, port, mib] = args;
  const hash = createHash('sha1');
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true });
  let answer = '';
  socket.setTimeout(5000, () => socket.destroy(new Error('ETIMEDOUT')));
  socket.on('data', (data) => (answer += data));
  socket.on('error', (error) => console.log(JSON.stringify({ error: error.code ?? error.message })));
  socket.on('end', () => console.log(JSON.stringify({ sent: hash.digest('hex'), got: answer })));
  for (let i = 0; i < Number(mib); i++) {
    const chunk = Buffer.alloc(CHUNK);
    for (let at = 0; at < CHUNK; at += 4) chunk.writeUInt32LE((at * 2654435761 + i * 40503) >>> 0, at);
    hash.update(chunk);
    if (!socket.write(chunk))
      await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve));
    if (socket.destroyed) break;
  }
  socket.end();
}
