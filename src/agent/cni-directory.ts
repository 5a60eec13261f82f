/**
 * The channel for the plug-in's shell form, which cannot speak to a unix socket (src/cni/portolan-cni.sh).
 *
 * A request is the file `<number>.request`; its number comes through the fifo `requests`; the answer goes into the fifo
 * `<number>`, which the shell made and reads. `agent` holds our process id, so that a shell knows whether anybody reads.
 */
import { constants, openSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '../base/log.ts';
import { MAX_MESSAGE_BYTES } from '../cni/wire.ts';

export interface DirectoryServer {
  close(): Promise<void>;
}

interface Components {
  readonly answer: (text: string) => Promise<string>;
  readonly log: Log;
}

export async function serveDirectory(components: Components, directory: string): Promise<DirectoryServer> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'requests');
  await promisify(execFile)('mkfifo', ['-m', '600', path]);
  // Open for reading and writing: otherwise it would end with each writer. The socket takes the descriptor over.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const socket = new Socket({ fd, readable: true, writable: false });
  socket.on('error', (error) => components.log.error('the shell plug-in has no channel', { error }));
  readNumbers(socket, (number) => void answerFile(components, directory, number));
  // Last, for shells take it as the sign that somebody reads.
  await writeFile(join(directory, 'agent.new'), `${process.pid}\n`);
  await rename(join(directory, 'agent.new'), join(directory, 'agent'));
  return {
    close: async () => {
      await rm(directory, { recursive: true, force: true });
      await closeSocket(socket);
    },
  };
}

function closeSocket(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.destroy();
  });
}

/** Lines of decimal process ids; writes to a fifo of up to PIPE_BUF bytes do not mix (POSIX, write). */
function readNumbers(socket: Socket, onNumber: (number: string) => void): void {
  let rest = '';
  socket.on('data', (data: Buffer) => {
    const lines = (rest + data.toString('latin1')).split('\n');
    rest = (lines.pop() ?? '').slice(0, 32);
    for (const line of lines) if (/^[1-9][0-9]{0,9}$/.test(line)) onNumber(line);
  });
}

async function answerFile({ answer, log }: Components, directory: string, number: string): Promise<void> {
  const path = join(directory, number);
  try {
    const { size } = await stat(`${path}.request`);
    if (size > MAX_MESSAGE_BYTES) throw new Error(`the request has ${size} bytes`);
    const text = await answer(await readFile(`${path}.request`, 'utf8'));
    // The shell has the fifo open by now, or is about to; without a reader this fails instead of waiting for ever.
    await writeWhenRead(path, text);
  } catch (error) {
    log.warn('could not answer the shell plug-in', { error });
  }
}

const OPEN_ATTEMPTS = 200;
const OPEN_PAUSE_MS = 10;

async function writeWhenRead(path: string, text: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const file = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
      try {
        await file.writeFile(text);
        return;
      } finally {
        await file.close();
      }
    } catch (error) {
      // ENXIO: nobody reads yet (fifo(7)). The shell opens it right after it has sent its number.
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO' || attempt >= OPEN_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, OPEN_PAUSE_MS));
    }
  }
}
