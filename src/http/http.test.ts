import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { afterEach, describe, expect, it } from 'vitest';
import { PortolanError } from '../base/errors.ts';
import { memoryLog } from '../base/log.ts';
import { parseTarget, request, type HttpTarget } from './client.ts';
import { createApp, listenTcp, listenUnix, MAX_BODY_BYTES, type HttpListener } from './server.ts';

const open: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const log = memoryLog();

function demoApp() {
  const app = createApp({ log });
  app.get('/ok', (context) => context.json({ ok: true }));
  app.get('/taken', () => {
    throw new PortolanError('conflict', 'Cannot take port 80: held by "web"', {
      field: 'port',
      remedy: 'choose another',
    });
  });
  app.get('/broken', () => {
    throw new Error('the password is swordfish');
  });
  app.post('/typed', async (context) =>
    context.json(z.object({ count: z.int() }).parse(await context.req.json())),
  );
  return app;
}

async function serve(): Promise<HttpTarget> {
  const listener: HttpListener = await listenTcp(demoApp(), { host: '127.0.0.1', port: 0 });
  open.push(() => listener.close());
  return { host: '127.0.0.1', port: listener.port ?? 0 };
}

const get = (target: HttpTarget, path: string) => request(target, { method: 'GET', path, timeoutMs: 5_000 });

describe('HTTP server and client', () => {
  it('answer JSON over TCP', async () => {
    const answer = await get(await serve(), '/ok');
    expect(answer).toMatchObject({ status: 200, body: { ok: true } });
    expect(answer.dateMs).toBeGreaterThan(Date.now() - 60_000);
  });

  it('answer over a unix socket that only root may use, also where a stale one lies', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'portolan-http-'));
    open.push(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'api.sock');
    for (let round = 0; round < 2; round++) {
      const listener = await listenUnix(demoApp(), path);
      open.unshift(() => listener.close());
      expect((await get({ socketPath: path }, '/ok')).status).toBe(200);
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
  });

  it('give errors as one body with code, field and remedy', async () => {
    expect(await get(await serve(), '/taken')).toMatchObject({
      status: 409,
      body: {
        message: 'Cannot take port 80: held by "web"',
        code: 'conflict',
        field: 'port',
        remedy: 'choose another',
      },
    });
  });

  it('keep the text of unexpected errors out of the answer and in the log', async () => {
    const answer = await get(await serve(), '/broken');
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.body)).not.toContain('swordfish');
    expect(log.lines.some((line) => line.message === 'Request failed')).toBe(true);
  });

  it('answer 404 for unknown paths and 400 naming the field for wrong bodies', async () => {
    const target = await serve();
    expect((await get(target, '/nowhere')).status).toBe(404);
    const answer = await request(target, {
      method: 'POST',
      path: '/typed',
      body: { count: 'two' },
      timeoutMs: 5_000,
    });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid', field: 'count' } });
  });

  it('refuse bodies over the limit', async () => {
    const body = { text: 'x'.repeat(MAX_BODY_BYTES) };
    const answer = await request(await serve(), { method: 'POST', path: '/typed', body, timeoutMs: 10_000 });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid' } });
  });

  it('say that nobody answers', async () => {
    await expect(get({ socketPath: '/nonexistent/api.sock' }, '/ok')).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  it('say which port is taken', async () => {
    const target = await serve();
    const port = 'port' in target ? target.port : 0;
    await expect(listenTcp(demoApp(), { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('parseTarget()', () => {
  it('reads sockets, URLs and host:port', () => {
    expect(parseTarget('unix:///run/a.sock')).toEqual({ socketPath: '/run/a.sock' });
    expect(parseTarget('http://10.0.0.1:5050/')).toEqual({ host: '10.0.0.1', port: 5050 });
    expect(parseTarget('[fd00::1]:5050')).toEqual({ host: 'fd00::1', port: 5050 });
  });

  it('refuses anything else with the remedy', () => {
    for (const text of ['', 'ftp://x:1', 'host', 'host:0', 'host:99999'])
      expect(() => parseTarget(text)).toThrow(/Cannot use API address/);
  });
});
