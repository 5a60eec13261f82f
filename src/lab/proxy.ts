/**
 * `node proxy.js PORT SOCKET`: carries connections on 127.0.0.1:PORT to a unix socket.
 *
 * It lets a browser in the root network namespace reach a master inside a lab without any link between the two.
 */
import { connect, createServer, type Socket } from 'node:net';

const MAX_CONNECTIONS = 1024;
const [port = '', socket = ''] = process.argv.slice(2);

function carry(client: Socket): void {
  const server = connect(socket);
  for (const end of [client, server])
    end.on('error', () => {
      client.destroy();
      server.destroy();
    });
  client.pipe(server);
  server.pipe(client);
}

const listener = createServer(carry);
listener.maxConnections = MAX_CONNECTIONS;
listener.on('error', (error) => {
  process.stderr.write(`Cannot listen on 127.0.0.1:${port}: ${error.message}\n`);
  process.exitCode = 1;
});
listener.listen(Number(port), '127.0.0.1');
