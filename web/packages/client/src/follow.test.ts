import { describe, expect, it } from "vitest";

import { unreachable } from "./error.js";
import { ask, resume, type Asking, type Link, type Signal } from "./follow.js";
import { beginning, reduce, type AnswerState } from "./reduce.js";
import type { RunSnapshot, StreamEvent } from "./types.js";

const sources: StreamEvent = { type: "sources", sources: [] };
const token = (text: string): StreamEvent => ({ type: "token", text });
const done: StreamEvent = {
  type: "done",
  model: "m",
  finish_reason: "stop",
  usage: null,
  timings: { queue_ms: 0, retrieval_ms: 12, first_token_ms: 140, total_ms: 910 },
  citations: [],
  uncited: false,
  conversation_id: null,
  message_id: "m1",
};
const LOG = [sources, token("Once "), token("upon "), token("a "), token("time."), done];

/** Events `from`…`to` of the log, as the server frames them, and then the end of the connection. */
const stream = (from: number, to: number, log = LOG): Response => {
  const frames = log.slice(from - 1, to).map((event, index) => {
    return `id: r1:${from + index}\ndata: ${JSON.stringify(event)}\n\n`;
  });
  return new Response(frames.join(""), { headers: { "X-Run-Id": "r1" } });
};

const snapshot = (run: Partial<RunSnapshot>): Response =>
  Response.json({ run_id: "r1", question: "q", status: "done", content: "", sources: [], error: null, ...run });

const refused = (status: number, headers: HeadersInit = {}): Response =>
  Response.json({ code: "c", message: `refused ${status}`, status, retryable: false }, { status, headers });

type Answer = Response | Error;

/** A server that gives these answers in turn, and notes what it was asked. */
function scripted(...answers: Answer[]) {
  const asked: string[] = [];
  const pauses: number[] = [];
  const link: Link = {
    fetch: (path, init) => {
      const cursor = new Headers(init.headers).get("Last-Event-ID");
      asked.push(cursor ? `${path} after ${cursor}` : path);
      const answer = answers.shift();
      if (!answer) throw new Error("The script has ended.");
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    pause: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    },
  };
  return { link, asked, pauses };
}

async function fold(signals: AsyncGenerator<Signal>): Promise<{ state: AnswerState; kinds: string[] }> {
  let state = beginning("q");
  const kinds: string[] = [];
  for await (const signal of signals) {
    state = reduce(state, signal);
    kinds.push(signal.kind);
  }
  return { state, kinds };
}

const QUESTION: Asking = { path: "/query", body: { client_request_id: "c1", question: "q" } };
const signal = new AbortController().signal;
const whole = { phase: "done", text: "Once upon a time.", reconnecting: false };

describe("ask", () => {
  it("folds one unbroken connection", async () => {
    const { link, asked } = scripted(stream(1, 6));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject(whole);
    expect(asked).toEqual(["/query"]);
  });

  it("gives the same answer wherever the connection breaks", async () => {
    for (let cut = 0; cut < LOG.length; cut += 1) {
      const { link, asked, pauses } = scripted(stream(1, cut), stream(cut + 1, 6));
      const { state, kinds } = await fold(ask(link, QUESTION, signal));
      expect(state, `cut after ${cut}`).toMatchObject(whole);
      expect(kinds).toContain("reconnecting");
      expect(asked[1]).toBe(cut === 0 ? "/runs/r1/events" : `/runs/r1/events after r1:${cut}`);
      expect(pauses).toEqual([2000]);
    }
  });

  it("drops what it has had before", async () => {
    const { link } = scripted(stream(1, 3), stream(1, 6));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject(whole);
  });

  it("takes a gap for a broken connection", async () => {
    const gap = new Response(`${await stream(1, 2).text()}${await stream(4, 6).text()}`, {
      headers: { "X-Run-Id": "r1" },
    });
    const { link, asked } = scripted(gap, stream(3, 6));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject(whole);
    expect(asked[1]).toBe("/runs/r1/events after r1:2");
  });

  it("reads nothing after the terminal event", async () => {
    const { link } = scripted(stream(1, 7, [...LOG, token("more")]));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject(whole);
  });

  it("shows the server's own refusal, and starts no second run", async () => {
    const { link, asked } = scripted(refused(429));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject({
      phase: "failed",
      error: { message: "refused 429" },
    });
    expect(asked).toHaveLength(1);
  });

  it("keeps the text before an error event", async () => {
    const error: StreamEvent = { type: "error", message: "It broke.", code: "upstream_truncated", retryable: true };
    const { link } = scripted(stream(1, 3, [sources, token("Once"), error]));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject({ phase: "failed", text: "Once", error });
  });

  it("asks again with the same id when no answer came, nor one of our server's", async () => {
    const bodies: unknown[] = [];
    const proxy = new Response("<html>Bad Gateway</html>", { status: 502 });
    const { link, asked, pauses } = scripted(unreachable(), proxy, stream(1, 6));
    const noting: Link = { ...link, fetch: (path, init) => (bodies.push(init.body), link.fetch(path, init)) };
    const { state, kinds } = await fold(ask(noting, QUESTION, signal));
    expect(state).toMatchObject(whole);
    expect(kinds).not.toContain("refused");
    expect(asked).toEqual(["/query", "/query", "/query"]);
    expect(new Set(bodies)).toEqual(new Set([JSON.stringify(QUESTION.body)]));
    expect(pauses).toEqual([2000, 3000]);
  });

  it("takes the stored answer when the same question was answered long ago", async () => {
    const known = Response.json({ code: "conflict", message: "Answered.", run_id: "r1" }, { status: 409 });
    const { link, asked } = scripted(unreachable(), known, refused(410), snapshot({ content: "Stored.", model: "m" }));
    expect((await fold(ask(link, QUESTION, signal))).state).toMatchObject({ phase: "done", text: "Stored." });
    expect(asked).toEqual(["/query", "/query", "/runs/r1/events", "/runs/r1"]);
  });

  it("ends without a word when it is aborted", async () => {
    const abort = new AbortController();
    const { link } = scripted(new DOMException("", "AbortError"));
    abort.abort();
    expect((await fold(ask(link, QUESTION, abort.signal))).kinds).toEqual([]);
  });
});

describe("resume", () => {
  const start = { runId: "r1", seq: 0 };

  it("waits longer and longer while there is no answer, and never calls it an error", async () => {
    const offline = [unreachable(), unreachable(), refused(503), refused(502)];
    const { link, pauses } = scripted(...offline, stream(1, 6));
    const { state, kinds } = await fold(resume(link, start, signal));
    expect(state).toMatchObject(whole);
    expect(kinds).not.toContain("refused");
    expect(pauses).toEqual([3000, 4500, 6750, 10125]);
  });

  it("gives up when its patience is at its end, with what the server stated last", async () => {
    const { link, asked } = scripted(unreachable(), refused(503));
    const limited = (patienceMs: number) => fold(resume({ ...link, patienceMs }, start, signal));
    expect((await limited(0)).state).toMatchObject({ phase: "failed", error: { code: "unreachable" } });
    expect((await limited(0)).state).toMatchObject({ phase: "failed", error: { message: "refused 503" } });
    expect(asked).toHaveLength(2);
  });

  it("keeps its patience as long as it is heard", async () => {
    const { link } = scripted(stream(1, 2), stream(3, 3), stream(4, 6));
    const { state } = await fold(resume({ ...link, patienceMs: 0 }, start, signal));
    expect(state).toMatchObject(whole);
  });

  it("waits as long as the server asks", async () => {
    const { link, pauses } = scripted(refused(429, { "Retry-After": "30" }), stream(1, 6));
    await fold(resume(link, start, signal));
    expect(pauses).toEqual([30_000]);
  });

  it.each([204, 409, 410, 422])("takes the stored answer when the events are gone (%i)", async (status) => {
    const gone = status === 204 ? new Response(null, { status }) : refused(status);
    const { link, asked } = scripted(gone, snapshot({ content: "Stored.", model: "m" }));
    expect((await fold(resume(link, start, signal))).state).toMatchObject({ phase: "done", text: "Stored." });
    expect(asked).toEqual(["/runs/r1/events", "/runs/r1"]);
  });

  it("asks for the stored answer again while it is still being written", async () => {
    const { link } = scripted(
      refused(410),
      snapshot({ status: "running", content: "Half" }),
      unreachable(),
      snapshot({ status: "stopped", content: "Half of it" }),
    );
    expect((await fold(resume(link, start, signal))).state).toMatchObject({ phase: "stopped", text: "Half of it" });
  });

  it("ends where the run is not ours or not there", async () => {
    const { link } = scripted(refused(404));
    expect((await fold(resume(link, start, signal))).state).toMatchObject({ phase: "failed", text: "" });
  });

  it("shows an interrupted answer with its prefix and reason", async () => {
    const error = { code: "interrupted", message: "The server stopped.", retryable: true };
    const { link } = scripted(refused(410), snapshot({ status: "interrupted", content: "Once", error }));
    expect((await fold(resume(link, start, signal))).state).toMatchObject({ phase: "failed", text: "Once", error });
  });
});
