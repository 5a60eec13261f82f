/**
 * HTTP servers on TCP and unix sockets.
 *
 * Purpose: every API of the daemons is a Hono app made here, so that errors, unknown paths and limits look alike.
 * Invariants: no stack or internal text leaves the process; bodies over MAX_BODY_BYTES are refused before parsing;
 * a unix socket is only root's.
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, ListenOptions, Server as NetServer } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { PortolanError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { errorBody, errorStatus } from './errors.ts';

export const MAX_BODY_BYTES = 16 * 1024 * 1024;

export interface HttpListener {
  /** The TCP port really bound; absent on unix sockets. */
  readonly port?: number;
  close(): Promise<void>;
}

export function createApp(components: { readonly log: Log }): Hono {
  const app = new Hono();
  app.use(bodyLimit({ maxSize: MAX_BODY_BYTES, onError: () => fail(tooLarge()) }));
  app.notFound((context) =>
    context.json(errorBody(new PortolanError('not-found', `Cannot find "${context.req.path}"`)), 404),
  );
  app.onError((error, context) => {
    const body = errorBody(error);
    if (body.code === 'internal')
      components.log.error('Request failed', { error, path: context.req.path, stack: error.stack });
    return context.json(body, errorStatus(body.code));
  });
  return app;
}

function tooLarge(): PortolanError {
  return new PortolanError('invalid', 'Cannot read the request: the body is too large', {
    remedy: `send at most ${MAX_BODY_BYTES} bytes`,
  });
}

function fail(error: Error): never {
  throw error;
}

export async function listenTcp(
  app: Hono,
  options: { readonly host: string; readonly port: number },
): Promise<HttpListener> {
  const server = await listen(app, { host: options.host, port: options.port });
  return { port: (server.address() as AddressInfo).port, close: () => close(server) };
}

export async function listenUnix(app: Hono, path: string): Promise<HttpListener> {
  await rm(path, { force: true });
  const server = await listen(app, { path });
  await chmod(path, 0o600);
  return { close: () => close(server) };
}

async function listen(app: Hono, options: ListenOptions): Promise<Server> {
  const handle = getRequestListener(app.fetch);
  const server = createServer((request, response) => void handle(request, response));
  await listenOn(server, options);
  return server;
}

/** Rejects with what is in the way. */
export function listenOn(server: NetServer, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(describeListenError(error, options)));
    server.listen(options, () => resolve());
  });
}

function describeListenError(error: NodeJS.ErrnoException, options: ListenOptions): Error {
  const where = options.path ?? `${options.host ?? ''}:${String(options.port)}`;
  if (error.code !== 'EADDRINUSE' && error.code !== 'EADDRNOTAVAIL') return error;
  const state =
    error.code === 'EADDRINUSE' ? 'another process listens there' : 'no interface has this address';
  return new PortolanError('conflict', `Cannot listen on ${where}: ${state}`, { cause: error });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
