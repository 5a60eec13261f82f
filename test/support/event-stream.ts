/** A client of a master's event stream, which keeps what it is told. */
import { get, type ClientRequest } from 'node:http';
import { expect, vi } from 'vitest';

export interface ToldEvent {
  readonly eventType: string;
  readonly timestamp: string;
  readonly [member: string]: unknown;
}

export class EventStream {
  readonly events: ToldEvent[] = [];
  readonly #request: ClientRequest;
  #rest = '';

  private constructor(socketPath: string, query: string) {
    this.#request = get(
      { socketPath, path: `/v2/events${query}`, headers: { accept: 'text/event-stream' } },
      (response) => {
        response.setEncoding('utf8');
        response.on('data', (text: string) => this.#take(text));
        response.on('error', () => undefined);
      },
    );
    this.#request.on('error', () => undefined);
  }

  /** Resolves when it is attached: nothing that comes after is missed. `query` with its question mark. */
  static async open(socketPath: string, query = ''): Promise<EventStream> {
    const stream = new EventStream(socketPath, query);
    await vi.waitFor(() => expect(stream.types()).toContain('event_stream_attached'), { timeout: 30_000 });
    return stream;
  }

  types(): readonly string[] {
    return this.events.map(({ eventType }) => eventType);
  }

  of(eventType: string): readonly ToldEvent[] {
    return this.events.filter((event) => event.eventType === eventType);
  }

  close(): void {
    this.#request.destroy();
  }

  #take(text: string): void {
    const frames = (this.#rest + text).split('\n\n');
    this.#rest = frames.pop() ?? '';
    for (const frame of frames) {
      const [, type, data] = /^event: (.*)\ndata: (.*)$/s.exec(frame.trimStart()) ?? [];
      if (data === undefined) continue;
      const event = JSON.parse(data) as ToldEvent;
      expect(event.eventType).toBe(type);
      this.events.push(event);
    }
  }
}
