import { readError, type LorestreamError } from "./error.js";
import type { Link } from "./follow.js";
import { readMessages } from "./frames.js";

/** What is followed: a document or a batch by its path, and how to tell that nothing more will happen to it. */
export interface Followed<T> {
  path: string;
  settled: (value: T) => boolean;
}

/** `heard` with what the server just said of it; `silent` while nothing can be heard; at the end perhaps `gone`. */
export type ProgressSignal<T> =
  { kind: "heard"; value: T } | { kind: "silent" } | { kind: "gone"; error: LorestreamError };

const RETRY_MS = 1_000;
const RETRY_MAX_MS = 15_000;

/**
 * Follow the progress of something until it is settled or gone.
 *
 * The stream begins with what is now, so a reconnect needs no cursor. What can be read but not followed (a proxy that
 * breaks streams) is asked for again and again.
 */
export async function* followProgress<T>(
  link: Link,
  { path, settled }: Followed<T>,
  signal: AbortSignal,
): AsyncGenerator<ProgressSignal<T>, void> {
  for (let failures = 0; !signal.aborted; failures += 1) {
    const stream = await link
      .fetch(`${path}/events`, { headers: { Accept: "text/event-stream" }, signal })
      .catch(() => null);
    if (stream?.status === 200) {
      for await (const value of readValues<T>(stream)) {
        failures = 0;
        yield { kind: "heard", value };
        if (settled(value)) return;
      }
    } else await stream?.body?.cancel();
    // Settled before (204), cut off, or refused: what it is now tells which.
    const now = yield* readOnce<T>(link, path, signal);
    if (now === "gone" || (now && settled(now))) return;
    if (!now) yield { kind: "silent" };
    await link.pause(Math.min(RETRY_MS * 1.6 ** failures, RETRY_MAX_MS), signal);
  }
}

async function* readOnce<T>(
  link: Link,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<ProgressSignal<T>, T | "gone" | null> {
  const response = await link.fetch(path, { signal }).catch(() => null);
  if (!response) return null;
  if (response.ok) {
    const value = (await response.json().catch(() => null)) as T | null;
    if (value) yield { kind: "heard", value };
    return value;
  }
  const error = await readError(response);
  if (error.status === 429 || error.status >= 500) return null;
  yield { kind: "gone", error };
  return "gone";
}

/** The states that a stream tells, in order; what is no JSON is passed over. */
async function* readValues<T>(response: Response): AsyncGenerator<T, void> {
  for await (const messages of readMessages(response)) {
    for (const { data } of messages) {
      const value = parse(data);
      if (value !== null) yield value as T;
    }
  }
}

function parse(data: string): object | null {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}
