/**
 * Follow one run to its end over any number of connections.
 *
 * End of file without a terminal event means that the connection broke, never success and never failure: the events
 * that are missing are asked for with `Last-Event-ID`. When the server no longer has them (410, or 204 without our
 * having seen the end), its snapshot of the run takes their place.
 */
import { readProblem, UNSTATED, type Problem } from "../api/problem";
import type { RunSnapshot, StreamEvent } from "../api/types";
import { isTerminal } from "./decode";
import { readFrames } from "./frames";

export type Signal =
  | { kind: "run"; runId: string }
  | { kind: "live" }
  | { kind: "events"; events: StreamEvent[] }
  | { kind: "reconnecting" }
  | { kind: "snapshot"; run: RunSnapshot }
  | { kind: "refused"; problem: Problem };

/** What following needs of the world. `fetch` throws a `Problem` when there is no answer at all. */
export interface Link {
  fetch: (path: string, init: RequestInit) => Promise<Response>;
  /** Resolves after `ms`, sooner when it makes sense to try again, at once when aborted. */
  pause: (ms: number, signal: AbortSignal) => Promise<void>;
}

const RETRY_MS = 2_000;
const RETRY_GROWTH = 1.5;
const RETRY_MAX_MS = 15_000;
const STREAM = { Accept: "text/event-stream" };

export interface Cursor {
  runId: string;
  /** The last event that was folded; 0 for none. */
  seq: number;
}

type Outcome =
  | { kind: "ended" }
  | { kind: "snapshot" }
  /** Try again, not before the server's `Retry-After`. */
  | { kind: "broken"; retryAfterMs: number }
  | { kind: "refused"; problem: Problem };

const ENDED: Outcome = { kind: "ended" };
const SNAPSHOT: Outcome = { kind: "snapshot" };
const BROKEN: Outcome = { kind: "broken", retryAfterMs: 0 };

/** A POST that starts a run. Its body names the request, so that sending it again finds the same run. */
export interface Asking {
  path: string;
  body: { client_request_id: string } & Record<string, unknown>;
}

/** Ask, as often as it takes until the server has heard it, and follow the run that it started. */
export async function* ask(link: Link, asking: Asking, signal: AbortSignal): AsyncGenerator<Signal, void> {
  const headers = { ...STREAM, "Content-Type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify(asking.body), signal };
  for (let failures = 0; ; failures += 1) {
    const response = await attempt(link, asking.path, init);
    const runId = response?.headers.get("X-Run-Id");
    if (response?.ok && response.body && runId) {
      const cursor = { runId, seq: 0 };
      yield { kind: "run", runId };
      const outcome = yield* readEvents(response.body, cursor, signal);
      if (outcome.kind === "broken") yield* resume(link, cursor, signal, RETRY_MS);
      return;
    }
    const problem = response && (await readProblem(response));
    if (problem?.runId) {
      // It was heard before, longer ago than its events are kept.
      yield { kind: "run", runId: problem.runId };
      yield* resume(link, { runId: problem.runId, seq: 0 }, signal);
      return;
    }
    if (problem && !(problem.code === UNSTATED && problem.retryable)) {
      yield { kind: "refused", problem };
      return;
    }
    if (signal.aborted) return;
    yield { kind: "reconnecting" };
    await link.pause(Math.min(RETRY_MS * RETRY_GROWTH ** failures, RETRY_MAX_MS), signal);
  }
}

/** Follow a run that was started before, from the event after `from.seq`, waiting `waitMs` before the first try. */
export async function* resume(link: Link, from: Cursor, signal: AbortSignal, waitMs = 0): AsyncGenerator<Signal, void> {
  const cursor = { ...from };
  let step = fetchEvents;
  for (let failures = 0, wait = waitMs; ;) {
    if (wait > 0 && !signal.aborted) {
      yield { kind: "reconnecting" };
      await link.pause(wait, signal);
    }
    if (signal.aborted) return;
    const before = cursor.seq;
    const outcome = yield* step(link, cursor, signal);
    if (outcome.kind === "ended") return;
    if (outcome.kind === "refused") {
      yield outcome;
      return;
    }
    if (outcome.kind === "snapshot") {
      step = fetchSnapshot;
      wait = 0;
    } else {
      failures = cursor.seq > before ? 0 : failures + 1;
      wait = Math.max(Math.min(RETRY_MS * RETRY_GROWTH ** failures, RETRY_MAX_MS), outcome.retryAfterMs);
    }
  }
}

async function* fetchEvents(link: Link, cursor: Cursor, signal: AbortSignal): AsyncGenerator<Signal, Outcome> {
  const headers = cursor.seq > 0 ? { ...STREAM, "Last-Event-ID": `${cursor.runId}:${cursor.seq}` } : STREAM;
  const response = await attempt(link, `/runs/${encodeURIComponent(cursor.runId)}/events`, { headers, signal });
  if (!response) return BROKEN;
  // 204: the terminal event was sent before; 409 and 422: the server cannot place our cursor; 410: no longer kept.
  if ([204, 409, 410, 422].includes(response.status)) return SNAPSHOT;
  if (!response.ok || !response.body) return refusal(response);
  yield { kind: "live" };
  return yield* readEvents(response.body, cursor, signal);
}

async function* fetchSnapshot(link: Link, cursor: Cursor, signal: AbortSignal): AsyncGenerator<Signal, Outcome> {
  const response = await attempt(link, `/runs/${encodeURIComponent(cursor.runId)}`, { signal });
  if (!response) return BROKEN;
  if (!response.ok) return refusal(response);
  const run = (await response.json().catch(() => null)) as RunSnapshot | null;
  if (!run) return BROKEN;
  yield { kind: "snapshot", run };
  return run.status === "running" ? BROKEN : ENDED;
}

/** Pass on the events that come next, each exactly once; a gap counts as a broken connection. */
async function* readEvents(
  body: ReadableStream<Uint8Array>,
  cursor: Cursor,
  signal: AbortSignal,
): AsyncGenerator<Signal, Outcome> {
  for await (const frames of readFrames(body)) {
    if (signal.aborted) return BROKEN;
    const events: StreamEvent[] = [];
    let gap = false;
    for (const frame of frames) {
      if (frame.runId !== cursor.runId || frame.seq <= cursor.seq) continue;
      gap = frame.seq !== cursor.seq + 1;
      if (gap) break;
      cursor.seq = frame.seq;
      if (frame.event) events.push(frame.event);
      if (frame.event && isTerminal(frame.event)) break;
    }
    if (events.length > 0) yield { kind: "events", events };
    const last = events.at(-1);
    if (last && isTerminal(last)) return ENDED;
    if (gap) return BROKEN;
  }
  return BROKEN;
}

async function attempt(link: Link, path: string, init: RequestInit): Promise<Response | null> {
  return link.fetch(path, init).catch(() => null);
}

/** Overload, restarts and limits pass; anything else that the server refuses is final. */
async function refusal(response: Response): Promise<Outcome> {
  const problem = await readProblem(response);
  const passing = problem.status === 429 || problem.status >= 500;
  return passing ? { kind: "broken", retryAfterMs: (problem.retryAfter ?? 0) * 1000 } : { kind: "refused", problem };
}
