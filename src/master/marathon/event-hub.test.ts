import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { marathonBed } from '../../../test/support/marathon-bed.ts';
import { emptyGroup } from '../../apps/tree.ts';
import { ManualClock, realClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import type { HttpListener } from '../../http/server.ts';
import type { AppEvent, Deployment } from '../../model/deployment.ts';
import { EventHub } from './event-hub.ts';

const timestamp = '2026-01-01T00:00:00.000Z';
const root = emptyGroup('/', timestamp);
const plan: Deployment = {
  id: 'd-1',
  version: timestamp,
  affectedApps: [],
  affectedPods: [],
  steps: [],
  currentActions: [],
  currentStep: 1,
  totalSteps: 1,
  original: root,
  target: root,
};
const status: AppEvent = { eventType: 'app_terminated_event', timestamp, appId: '/x' };
const success: AppEvent = { eventType: 'deployment_success', timestamp, id: 'd-1', plan };

interface Frame {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function framesOf(text: string): Frame[] {
  return text
    .split('\n\n')
    .map((frame) => /^event: (.*)\ndata: (.*)$/.exec(frame.replace(/^\n+/, '')))
    .filter((match) => match !== null)
    .map(([, event = '', data = '']) => ({ event, data: JSON.parse(data) as Frame['data'] }));
}

async function streamed() {
  const bed = marathonBed(realClock);
  const listener: HttpListener = await bed.serve();
  closers.push(
    () => listener.close(),
    () => bed.api.close(),
  );
  /** A client that reads frames as they come. */
  const listen = async (query = '') => {
    const aborter = new AbortController();
    closers.push(() => aborter.abort());
    const response = await fetch(`http://127.0.0.1:${listener.port ?? 0}/v2/events${query}`, {
      headers: { accept: 'text/event-stream' },
      signal: aborter.signal,
    });
    const seen = { text: '' };
    void (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? [])
        seen.text += decoder.decode(chunk as Uint8Array, { stream: true });
    })().catch(() => undefined);
    return { response, frames: () => framesOf(seen.text), close: () => aborter.abort() };
  };
  return { ...bed, listen, port: listener.port ?? 0 };
}

const TIMEOUT = { timeout: 30_000 };

describe('the event stream', () => {
  it('begins with its own attachment and tells every event', async () => {
    const { listen, orchestrator } = await streamed();
    const client = await listen();
    expect(client.response.headers.get('content-type')).toContain('text/event-stream');
    expect(client.response.headers.get('transfer-encoding')).toBeNull();
    await expect.poll(() => client.frames().length, TIMEOUT).toBe(1);
    orchestrator.emit(status);
    orchestrator.emit(success);
    await expect.poll(() => client.frames().length, TIMEOUT).toBe(3);
    expect(client.frames()).toMatchObject([
      {
        event: 'event_stream_attached',
        data: { remoteAddress: '127.0.0.1', eventType: 'event_stream_attached' },
      },
      { event: 'app_terminated_event', data: status },
      { event: 'deployment_success', data: success },
    ]);
  });

  it('keeps to the types that are asked for, and leaves plans out of the light form', async () => {
    const { listen, orchestrator } = await streamed();
    const some = await listen('?event_type=deployment_success&event_type=api_post_event&plan-format=light');
    const all = await listen();
    await expect.poll(() => all.frames().length, TIMEOUT).toBe(1);
    orchestrator.emit(status);
    orchestrator.emit(success);
    await expect.poll(() => some.frames().length, TIMEOUT).toBe(2);
    const { plan: _plan, ...light } = success;
    expect(some.frames()[1]?.data).toEqual(light);
    await expect.poll(() => all.frames().length, TIMEOUT).toBe(3);
    expect(all.frames()[2]?.data).toEqual(success);
  });

  it('tells of definitions that are sent, and of streams that come and go', async () => {
    const { listen, port } = await streamed();
    const client = await listen();
    await expect.poll(() => client.frames().length, TIMEOUT).toBe(1);
    const answer = await fetch(`http://127.0.0.1:${port}/v2/apps`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id: '/x', cmd: 'sleep 1' }),
    });
    expect(answer.status).toBe(201);
    const other = await listen();
    await expect.poll(() => other.frames().length, TIMEOUT).toBe(1);
    other.close();
    await expect
      .poll(() => client.frames().map(({ event }) => event), TIMEOUT)
      .toEqual(['event_stream_attached', 'api_post_event', 'event_stream_attached', 'event_stream_detached']);
    expect(client.frames()[1]?.data).toMatchObject({
      clientIp: '127.0.0.1',
      uri: '/v2/apps',
      appDefinition: { id: '/x' },
    });
  });

  it('drops a client that does not read, and goes on for the others', async () => {
    const { listen, orchestrator, port, log } = await streamed();
    const good = await listen('?event_type=deployment_success');
    const slow = connect(port, '127.0.0.1') as Socket;
    closers.push(() => slow.destroy());
    slow.on('error', () => undefined);
    slow.write('GET /v2/events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n');
    slow.pause();
    await expect.poll(() => good.frames().length, TIMEOUT).toBe(1);
    const isDropped = (): boolean => log.lines.some(({ message }) => message.includes('too slow'));
    const big: AppEvent = { ...status, appId: 'x'.repeat(200_000) };
    await expect
      .poll(() => {
        orchestrator.emit(big);
        return isDropped();
      }, TIMEOUT)
      .toBe(true);
    orchestrator.emit(success);
    await expect.poll(() => good.frames().at(-1)?.event, TIMEOUT).toBe('deployment_success');
  });

  it('sends an empty line every ten seconds', () => {
    const clock = new ManualClock();
    const hub = new EventHub({ clock, log: silentLog });
    const written: string[] = [];
    const response = {
      writableLength: 0,
      removeHeader: () => undefined,
      writeHead: () => response,
      flushHeaders: () => undefined,
      once: () => response,
      on: () => response,
      write: (bytes: Buffer) => written.push(String(bytes)) > 0,
      end: () => undefined,
      destroy: () => undefined,
    };
    hub.attach(response as never, { types: new Set(), isLight: false }, '10.0.0.9');
    clock.advance(9_999);
    expect(written).toHaveLength(1);
    clock.advance(1);
    clock.advance(10_000);
    expect(written.slice(1)).toEqual(['\n', '\n']);
  });
});
