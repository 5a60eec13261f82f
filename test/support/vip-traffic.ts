/** A server that says who it is and who called it, and clients that say what they got: over TCP and UDP. */

/** On port 8080: `NAME CALLER`. */
export function namingServer(name: string): readonly string[] {
  const script = `
    const say = (from) => ${JSON.stringify(name)} + ' ' + from.replace('::ffff:', '');
    const server = require('net').createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(say(socket.remoteAddress) + '\\n');
      socket.on('data', (data) => socket.end(data));
    });
    server.listen(8080, '::');
    const udp = require('dgram').createSocket('udp4');
    udp.on('message', (_message, from) => udp.send(say(from.address), from.port, from.address));
    udp.bind(8080);`;
  return [process.execPath, '-e', script];
}

export interface Call {
  /** Of the server that answered. */
  readonly name?: string;
  /** Whom the server saw. */
  readonly caller?: string;
  /** Errno. */
  readonly error?: string;
  readonly ms: number;
  /** Since the first, of its beginning. */
  readonly at: number;
}

/** Calls one after another; prints `Call[]`. Without a count: for `seconds`. */
export function caller(
  target: { readonly address: string; readonly port: number },
  options: { readonly count?: number; readonly seconds?: number },
): readonly string[] {
  const { address, port } = target;
  const { count = 1_000_000, seconds = 3_600 } = options;
  const script = `
    const net = require('net');
    const begun = performance.now();
    const calls = [];
    function once() {
      const at = performance.now() - begun;
      if (calls.length >= ${count} || at > ${seconds * 1000}) return console.log(JSON.stringify(calls));
      let done = (result) => {
        done = () => undefined;
        socket.destroy();
        calls.push({ ...result, at, ms: performance.now() - begun - at });
        setTimeout(once, ${count === 1_000_000 ? 5 : 0});
      };
      const socket = net.connect(${port}, ${JSON.stringify(address)});
      socket.setTimeout(1000, () => done({ error: 'ETIMEDOUT' }));
      socket.on('error', (error) => done({ error: error.code }));
      socket.on('data', (data) => {
        const [name, caller] = data.toString().trim().split(' ');
        done({ name, caller });
      });
      socket.on('close', () => done({ error: 'closed' }));
    }
    once();`;
  return [process.execPath, '-e', script];
}

/** Sends a datagram, as clients do again each second, and prints `NAME CALLER`, or the errno, or nothing within three seconds. */
export function asker(target: { readonly address: string; readonly port: number }): readonly string[] {
  const script = `
    const socket = require('dgram').createSocket('udp4');
    const end = (text) => { console.log(text); process.exit(0); };
    socket.on('message', (data) => end(data.toString()));
    socket.on('error', (error) => end(error.code));
    socket.connect(${target.port}, ${JSON.stringify(target.address)}, () => {
      socket.send('x');
      setInterval(() => socket.send('x'), 1000);
    });
    setTimeout(() => end(''), 3000);`;
  return [process.execPath, '-e', script];
}
