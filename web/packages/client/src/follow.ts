/**
 * Follow one run to its end over any number of connections.
 *
 * End of file without a terminal event means that the connection broke, never success and never failure: the events
 * that are missing are asked for with `Last-Event-ID`. When the server no longer has them (410, or 204 without our
 * having seen the end), its snapshot of the run takes their place.
 */
import { isTerminal } from "./decode.js";
import { LorestreamError, readError, UNSTATED, unreachable } from "./error.js";
import { readFrames } from "./frames.js";
import type { RunSnapshot, StreamEvent } from "./types.js";

export type Signal =
  | { kind: "run"; runId: string }
  | { kind: "live" }
  /** What came with one read of the network; `seq` is the number of the last of them. */
  | { kind: "events"; events: StreamEvent[]; seq: number }
  | { kind: "reconnecting" }
  | { kind: "snapshot"; run: RunSnapshot }
  | { kind: "refused"; error: LorestreamError };

/** What following needs of the world. */
export interface Link {
  /** Any status is returned; rejects when there is no answer at all. */
  fetch: (path: string, init: RequestInit) => Promise<Response>;
  /** Resolves after `ms`, sooner when it makes sense to try again, at once when aborted. */
  pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** How long it is tried to reach a server that does not answer, in milliseconds; for ever where it is left out. */
  patienceMs?: number;
}

const RETRY_MS = 2_000;
const RETRY_GROWTH = 1.5;
const RETRY_MAX_MS = 15_000;
const STREAM = { Accept: "text/event-stream" };
const JSON_BODY = { "Content-Type": "application/json" };

const delay = (failures: number): number => Math.min(RETRY_MS * RETRY_GROWTH ** failures, RETRY_MAX_MS);

export interface Cursor {
  runId: string;
  /** The last event that was folded; 0 for none. */
  seq: number;
}

type Outcome =
  | { kind: "ended" }
  | { kind: "snapshot" }
  /** Try again, not before the server's `Retry-After`; `error` says what stood against it, null that nothing did. */
  | { kind: "broken"; error: LorestreamError | null }
  | { kind: "refused"; error: LorestreamError };

const ENDED: Outcome = { kind: "ended" };
const SNAPSHOT: Outcome = { kind: "snapshot" };
const CUT: Outcome = { kind: "broken", error: null };
const unheard = (): Outcome => ({ kind: "broken", error: unreachable() });

/** A POST that starts a run. Its body names the request, so that sending it again finds the same run. */
export interface Asking {
  path: string;
  body: { client_request_id: string } & Record<string, unknown>;
}

/** Ask, as often as it takes until the server has heard it, and follow the run that it started. */
export async function* ask(link: Link, { path, body }: Asking, signal: AbortSignal): AsyncGenerator<Signal, void> {
  const answer = yield* insist(link, path, body, STREAM, signal);
  if (answer === null) return;
  // A refusal that names a run: it was heard before, longer ago than its events are kept.
  const runId = answer instanceof LorestreamError ? answer.runId : answer.headers.get("X-Run-Id");
  if (!runId) {
    yield { kind: "refused", error: answer instanceof LorestreamError ? answer : await readError(answer) };
    return;
  }
  const cursor = { runId, seq: 0 };
  yield { kind: "run", runId };
  if (answer instanceof LorestreamError) yield* resume(link, cursor, signal);
  else {
    const outcome = yield* readEvents(answer, cursor, signal);
    if (outcome.kind === "broken") yield* resume(link, cursor, signal, RETRY_MS);
  }
}

/** POST until our server answers: its answer, or its refusal; null when aborted. */
export async function* insist(
  link: Link,
  path: string,
  body: object,
  headers: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Signal, Response | LorestreamError | null> {
  const init = { method: "POST", headers: { ...headers, ...JSON_BODY }, body: JSON.stringify(body), signal };
  const patience = new Patience(link);
  for (let failures = 0; ; failures += 1) {
    const response = await attempt(link, path, init);
    if (response?.ok) return response;
    const error = response ? await readError(response) : unreachable();
    if (response && !(error.code === UNSTATED && error.retryable)) return error;
    if (!signal.aborted) {
      if (patience.endsWithin(delay(failures))) return error;
      yield { kind: "reconnecting" };
      await link.pause(delay(failures), signal);
    }
    if (signal.aborted) return null;
  }
}

/** Follow a run that was started before, from the event after `from.seq`, waiting `waitMs` before the first try. */
export async function* resume(link: Link, from: Cursor, signal: AbortSignal, waitMs = 0): AsyncGenerator<Signal, void> {
  const cursor = { ...from };
  const patience = new Patience(link);
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
      wait = Math.max(delay(failures), (outcome.error?.retryAfter ?? 0) * 1000);
      if (!outcome.error) patience.renew();
      else if (patience.endsWithin(wait)) {
        yield { kind: "refused", error: outcome.error };
        return;
      }
    }
  }
}

async function* fetchEvents(link: Link, cursor: Cursor, signal: AbortSignal): AsyncGenerator<Signal, Outcome> {
  const headers = cursor.seq > 0 ? { ...STREAM, "Last-Event-ID": `${cursor.runId}:${cursor.seq}` } : STREAM;
  const response = await attempt(link, `${runPath(cursor.runId)}/events`, { headers, signal });
  if (!response) return unheard();
  // 204: the terminal event was sent before; 409 and 422: the server cannot place our cursor; 410: no longer kept.
  if ([204, 409, 410, 422].includes(response.status)) return SNAPSHOT;
  if (!response.ok) return refusal(response);
  yield { kind: "live" };
  return yield* readEvents(response, cursor, signal);
}

async function* fetchSnapshot(link: Link, cursor: Cursor, signal: AbortSignal): AsyncGenerator<Signal, Outcome> {
  const response = await attempt(link, runPath(cursor.runId), { signal });
  if (!response) return unheard();
  if (!response.ok) return refusal(response);
  const run = (await response.json().catch(() => null)) as RunSnapshot | null;
  if (!run) return unheard();
  yield { kind: "snapshot", run };
  return run.status === "running" ? CUT : ENDED;
}

/** Pass on the events that come next, each exactly once; a gap counts as a broken connection. */
async function* readEvents(response: Response, cursor: Cursor, signal: AbortSignal): AsyncGenerator<Signal, Outcome> {
  for await (const frames of readFrames(response)) {
    if (signal.aborted) return CUT;
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
    if (events.length > 0) yield { kind: "events", events, seq: cursor.seq };
    const last = events.at(-1);
    if (last && isTerminal(last)) return ENDED;
    if (gap) return CUT;
  }
  return CUT;
}

export const runPath = (runId: string): string => `/runs/${encodeURIComponent(runId)}`;

async function attempt(link: Link, path: string, init: RequestInit): Promise<Response | null> {
  return link.fetch(path, init).catch(() => null);
}

/** Overload, restarts and limits pass; anything else that the server refuses is final. */
async function refusal(response: Response): Promise<Outcome> {
  const error = await readError(response);
  const passing = error.status === 429 || error.status >= 500;
  return { kind: passing ? "broken" : "refused", error };
}

/** How long a server that cannot be reached is waited for. */
class Patience {
  readonly #ms: number;
  #since = Date.now();

  constructor({ patienceMs = Infinity }: Link) {
    this.#ms = patienceMs;
  }

  renew(): void {
    this.#since = Date.now();
  }

  endsWithin(ms: number): boolean {
    return Date.now() + ms - this.#since > this.#ms;
  }
}
