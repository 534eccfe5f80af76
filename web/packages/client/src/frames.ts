import { createParser, type EventSourceMessage } from "eventsource-parser";

import type { StreamEvent } from "./types.js";
import { decode } from "./decode.js";

export interface Frame {
  runId: string;
  /** Gap-free from 1 within its run. */
  seq: number;
  /** Null for an event that this version does not know; its seq counts all the same. */
  event: StreamEvent | null;
}

/** The server's heartbeat comes every 10 s: after three missed ones the connection is dead, whatever TCP thinks. */
export const SILENCE_LIMIT_MS = 30_000;
/** No event is larger than 64 KiB. */
const MAX_BUFFERED_CHARS = 1024 * 1024;

/** The frames of an answer's event stream, one batch per network read; ends as `readMessages` does. */
export async function* readFrames(
  response: Response,
  silenceLimitMs = SILENCE_LIMIT_MS,
): AsyncGenerator<Frame[], void> {
  for await (const messages of readMessages(response, silenceLimitMs)) {
    const frames = messages.flatMap(({ id, data }) => {
      const cursor = parseId(id);
      return cursor ? [{ ...cursor, event: decode(data) }] : [];
    });
    if (frames.length > 0) yield frames;
  }
}

/**
 * The messages of an event stream, one batch per network read.
 *
 * Ends, without throwing, when the connection ends, breaks, or is silent for too long: in all three cases only what
 * the last message says tells whether there is more to come. Where `fetch` gives no stream (React Native's own),
 * everything comes in one batch when the connection has ended.
 */
export async function* readMessages(
  response: Response,
  silenceLimitMs = SILENCE_LIMIT_MS,
): AsyncGenerator<EventSourceMessage[], void> {
  let batch: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => batch.push(message), maxBufferSize: MAX_BUFFERED_CHARS });
  // In a browser it is there; React Native's `fetch` leaves it undefined.
  const reader = (response.body as ReadableStream<Uint8Array> | null | undefined)?.getReader();
  if (!reader) {
    parser.feed(await response.text().catch(() => ""));
    if (batch.length > 0) yield batch;
    return;
  }
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const chunk = await readWithin(reader, silenceLimitMs);
      if (!chunk) return;
      parser.feed(decoder.decode(chunk, { stream: true }));
      if (batch.length > 0) yield batch;
      batch = [];
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function readWithin(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  limitMs: number,
): Promise<Uint8Array | undefined> {
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), limitMs);
  try {
    return (await reader.read()).value;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

function parseId(id: string | undefined): { runId: string; seq: number } | null {
  const match = /^(.+):(\d{1,15})$/.exec(id ?? "");
  return match ? { runId: match[1] ?? "", seq: Number(match[2]) } : null;
}
