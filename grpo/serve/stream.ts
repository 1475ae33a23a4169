/** Server-sent events: a connection that a page keeps open to hear what is new. */
import { type Exchange, sendHead } from './responses.js';

const silence = 15_000; // milliseconds after which a line says that the connection lives

export interface EventStream {
  /** Sends one event, or several: see eventText(). */
  send(text: string): void;
  /** Ends it from this side. */
  end(): void;
}

/** An event as the stream has it. */
export const eventText = (event: string, data: unknown): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/**
 * Answers a request with a stream that lasts until either side ends it. It is greeted by `hello`, upon which a page reads
 * everything afresh: so it goes on after a lost connection or a new server, whatever it has missed.
 */
export function openStream(exchange: Exchange, onClose: () => void): EventStream {
  const { response } = exchange;
  sendHead(exchange, 200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' });
  response.write(`retry: 1000\n\n${eventText('hello', {})}`);
  const heartbeat = setInterval(() => response.write(': still here\n\n'), silence).unref();
  response.on('close', () => {
    clearInterval(heartbeat);
    onClose();
  });
  return {
    send: (text) => void response.write(text),
    end: () => void response.end(),
  };
}
