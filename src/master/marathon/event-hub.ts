/**
 * The event stream: every event to every client that wants it, as server-sent events.
 *
 * Purpose: a thousand clients cost little more than one. An event is written as text once for each of the two forms (with
 * deployment plans, and light), and the same bytes go to every socket.
 * Invariants: a client whose queue is full is dropped, never waited for; a client that is gone is forgotten at once; the
 * first event of a stream is `event_stream_attached`.
 * Review notes: writes straight to the socket, since a web stream for each client costs more than everything else here.
 */
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';

export interface StreamEvent {
  readonly eventType: string;
  readonly timestamp: string;
}

export interface StreamFilter {
  /** Empty = every type. */
  readonly types: ReadonlySet<string>;
  /** Without the plans of deployments. */
  readonly isLight: boolean;
}

interface Client {
  readonly response: ServerResponse;
  readonly filter: StreamFilter;
  readonly remote: string;
}

const KEEP_ALIVE_MS = 10_000;
/** What may wait for one client: some hundreds of events. Then it is dropped, and reads the state again. */
const MAX_QUEUED_BYTES = 1024 * 1024;
export const MAX_CLIENTS = 4096;
const KEEP_ALIVE = Buffer.from('\n');

export class EventHub {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #clients = new Set<Client>();
  #isBeating = false;

  constructor(components: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = components.clock;
    this.#log = components.log.child('events');
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Takes the response over. False = there are too many clients already. */
  attach(response: ServerResponse, filter: StreamFilter, remote: string): boolean {
    if (this.#clients.size >= MAX_CLIENTS) return false;
    const client = { response, filter, remote };
    // The stream ends with its connection: without chunks an event is one buffer for the socket instead of three.
    response.removeHeader('transfer-encoding');
    response.writeHead(200, {
      'content-type': 'text/event-stream;charset=utf-8',
      'cache-control': 'no-cache, no-store, must-revalidate',
      connection: 'close',
    });
    this.#clients.add(client);
    response.once('close', () => this.#forget(client));
    response.on('error', (error) => this.#log.debug('A stream failed', { remote, error }));
    response.flushHeaders();
    const attached = this.#event('event_stream_attached', { remoteAddress: remote });
    response.write(framed(attached, undefined));
    this.publish(attached, client);
    this.#beat();
    return true;
  }

  /** To all clients but `except`. */
  publish(event: StreamEvent, except?: Client): void {
    if (this.#clients.size === 0) return;
    const forms: { full?: Buffer; light?: Buffer } = {};
    for (const client of this.#clients) {
      const { types, isLight } = client.filter;
      if (client === except || (types.size > 0 && !types.has(event.eventType))) continue;
      const bytes = isLight
        ? (forms.light ??= framed(event, 'plan'))
        : (forms.full ??= framed(event, undefined));
      this.#send(client, bytes);
    }
  }

  close(): void {
    for (const { response } of this.#clients) response.end();
  }

  #event(eventType: string, members: Readonly<Record<string, unknown>>): StreamEvent {
    return { ...members, eventType, timestamp: new Date(this.#clock.wallMs()).toISOString() };
  }

  #send(client: Client, bytes: Buffer): void {
    const { response, remote } = client;
    // One event may be larger than that: the plan of a deployment holds whole trees.
    if (response.writableLength <= MAX_QUEUED_BYTES) {
      response.write(bytes);
      return;
    }
    this.#log.info('A client of the event stream is too slow and is dropped', { remote });
    response.destroy();
  }

  #forget(client: Client): void {
    if (!this.#clients.delete(client)) return;
    this.publish(this.#event('event_stream_detached', { remoteAddress: client.remote }));
  }

  /** An empty line now and then, so that both ends learn of a dead connection. */
  #beat(): void {
    if (this.#isBeating || this.#clients.size === 0) return;
    this.#isBeating = true;
    this.#clock.after(KEEP_ALIVE_MS, () => {
      this.#isBeating = false;
      for (const client of this.#clients) this.#send(client, KEEP_ALIVE);
      this.#beat();
    });
  }
}

function framed(event: StreamEvent, without: string | undefined): Buffer {
  const shown = without === undefined ? event : { ...event, [without]: undefined };
  return Buffer.from(`event: ${event.eventType}\ndata: ${JSON.stringify(shown)}\n\n`);
}
