import { describe, expect, it } from "vitest";

import { LorestreamClient, type AskOptions } from "./client.js";
import { LorestreamError } from "./error.js";
import type { Run } from "./run.js";
import type { StreamEvent } from "./types.js";

const sources: StreamEvent = { type: "sources", sources: [] };
const token = (text: string): StreamEvent => ({ type: "token", text });
const done = { type: "done", model: "m", finish_reason: "stop", citations: [] } as unknown as StreamEvent;
const cancelled = { ...done, finish_reason: "cancelled" } as StreamEvent;

type Answer = Response | Error | (() => Promise<Response>);

/** Events from `seq` on, and then the end of the connection, or none. */
function stream(events: StreamEvent[], { seq = 1, open = false } = {}): Response {
  const frames = events.map((event, index) => `id: r1:${seq + index}\ndata: ${JSON.stringify(event)}\n\n`);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(frames.join("")));
      if (!open) controller.close();
    },
  });
  return new Response(body, { headers: { "X-Run-Id": "r1" } });
}

const stopped = () => Response.json({ run_id: "r1", stopping: true }, { status: 202 });
const refused = (status: number) => Response.json({ code: "c", message: `refused ${status}` }, { status });

/** A client of a server that gives these answers in turn; what it was asked. */
function scripted(...answers: Answer[]) {
  const asked: string[] = [];
  const bodies: Record<string, unknown>[] = [];
  const client = new LorestreamClient({
    url: "http://lore.test/",
    getToken: (refused) => (refused === undefined ? "t1" : "t2"),
    patienceMs: 0,
    fetch: (input, init) => {
      const token = new Headers(init?.headers).get("Authorization")?.replace("Bearer ", "") ?? "";
      asked.push(`${token} ${init?.method ?? "GET"} ${(input as string).replace("http://lore.test", "")}`);
      if (typeof init?.body === "string") bodies.push(JSON.parse(init.body) as Record<string, unknown>);
      const answer = answers.shift();
      if (typeof answer === "function") return answer();
      return answer instanceof Response ? Promise.resolve(answer) : Promise.reject(answer ?? new Error("No more."));
    },
  });
  return { client, asked, bodies };
}

const IN: AskOptions = { conversationId: "c1", clientRequestId: "i1" };
const ASKED = "t1 POST /conversations/c1/questions";

async function told(run: Run): Promise<string[]> {
  const words: string[] = [];
  for await (const event of run) words.push(event.type === "token" ? event.text : event.type);
  return words;
}

describe("a question", () => {
  it("is told event by event, to everybody who iterates, and awaited as a whole", async () => {
    const { client, bodies } = scripted(stream([sources, token("Pa"), token("ris"), done]));
    const run = client.ask("Where?", { ...IN, k: 2, docIds: ["d1"], model: "m", onDisconnect: "cancel" });
    expect(await told(run)).toEqual(["sources", "Pa", "ris", "done"]);
    expect(await told(run)).toEqual(["sources", "Pa", "ris", "done"]);
    expect(await run.answer).toMatchObject({ text: "Paris", phase: "done", sources: [] });
    expect(bodies).toEqual([
      {
        ...{ question: "Where?", k: 2, doc_ids: ["d1"], model: "m" },
        client_request_id: "i1",
        on_disconnect: "cancel",
      },
    ]);
  });

  it("makes a conversation where none is named, which is gone again when the question is refused", async () => {
    const made = () => Response.json({ conversation_id: "c9" }, { status: 201 });
    const { client, asked } = scripted(made(), stream([sources, done]));
    await client.ask("Where?").answer;
    expect(asked).toEqual(["t1 POST /conversations/", "t1 POST /conversations/c9/questions"]);
    const other = scripted(made(), refused(422), new Response(null, { status: 204 }));
    await expect(other.client.ask("Where?").answer).rejects.toMatchObject({ status: 422, message: "refused 422" });
    expect(other.asked[2]).toBe("t1 DELETE /conversations/c9");
  });

  it("throws what the server refuses, and what ends the answer, whichever way one waits for it", async () => {
    const error: StreamEvent = { type: "error", message: "It broke.", code: "model_error", retryable: true };
    const { client } = scripted(stream([sources, token("Pa"), error]));
    const run = client.ask("Where?", IN);
    const failed = { code: "model_error", message: "It broke.", status: 0, retryable: true };
    await expect(told(run)).rejects.toMatchObject(failed);
    await expect(run.answer).rejects.toBeInstanceOf(LorestreamError);
    expect(run.text).toBe("Pa");
    await expect(told(scripted(refused(403)).client.ask("Where?", IN))).rejects.toMatchObject({ status: 403 });
  });

  it("says that a server cannot be reached when patience is at its end", async () => {
    const { client } = scripted(new TypeError("network"));
    await expect(client.ask("Where?", IN).answer).rejects.toMatchObject({ code: "unreachable", status: 0 });
  });

  it("is sent once more with a new token when the first is refused", async () => {
    const { client, asked } = scripted(refused(401), stream([sources, done]));
    await client.ask("Where?", IN).answer;
    expect(asked).toEqual([ASKED, ASKED.replace("t1", "t2")]);
  });
});

describe("Stop", () => {
  const STOP = "t1 POST /runs/r1/stop";

  it("waits until the run has a name, and keeps what there is", async () => {
    let answer: (response: Response) => void = () => undefined;
    const { client, asked } = scripted(() => new Promise((resolve) => (answer = resolve)), stopped());
    const run = client.ask("Where?", IN);
    const taken = run.stop();
    expect(run.state.stopping).toBe(true);
    await new Promise((resolve) => setTimeout(resolve));
    answer(stream([sources, token("Pa"), cancelled]));
    expect(await taken).toBe(true);
    expect(await run.answer).toMatchObject({ phase: "stopped", text: "Pa" });
    expect(asked[0]).toBe(ASKED);
  });

  it("comes of leaving the loop early", async () => {
    const { client, asked } = scripted(stream([sources, token("Pa"), token("ris")], { open: true }), stopped());
    for await (const event of client.ask("Where?", IN)) if (event.type === "token") break;
    expect(asked).toEqual([ASKED, STOP]);
  });

  it("comes of an abort, whose reason is thrown at once", async () => {
    const { client, asked } = scripted(stream([sources, token("Pa")], { open: true }), stopped());
    const abort = new AbortController();
    const run = client.ask("Where?", { ...IN, signal: abort.signal });
    const reading = (async () => {
      for await (const event of run) if (event.type === "token") abort.abort(new Error("enough"));
    })();
    await expect(reading).rejects.toThrow("enough");
    await expect(run.answer).rejects.toThrow("enough");
    expect(asked).toEqual([ASKED, STOP]);
  });

  it("comes of an abort before the run has a name, as soon as it has one", async () => {
    let answer: (response: Response) => void = () => undefined;
    const { client, asked } = scripted(() => new Promise((resolve) => (answer = resolve)), stopped());
    const abort = new AbortController();
    const run = client.ask("Where?", { ...IN, signal: abort.signal });
    await new Promise((resolve) => setTimeout(resolve));
    abort.abort();
    await expect(run.answer).rejects.toMatchObject({ name: "AbortError" });
    answer(stream([sources], { open: true }));
    await expect.poll(() => asked).toEqual([ASKED, STOP]);
  });

  it("needs no request where nothing was asked", async () => {
    const { client, asked } = scripted();
    await expect(client.ask("Where?", { ...IN, signal: AbortSignal.abort() }).answer).rejects.toThrow("aborted");
    expect(asked).toEqual([]);
  });
});

describe("a run that is followed", () => {
  it("is left, and taken up again where it was", async () => {
    const { client, asked } = scripted(
      stream([sources, token("Pa")], { open: true }),
      stream([token("ris"), done], { seq: 3 }),
    );
    const run = client.follow("r1");
    await expect.poll(() => run.text).toBe("Pa");
    run.leave();
    await expect(run.answer).rejects.toMatchObject({ name: "AbortError" });
    run.follow();
    expect(await told(run)).toEqual(["sources", "Pa", "ris", "done"]);
    expect(asked).toEqual(["t1 GET /runs/r1/events", "t1 GET /runs/r1/events"]);
  });

  it("tells by events what only the stored answer still knows", async () => {
    const stored = { run_id: "r1", question: "Where?", status: "done", content: "Paris.", sources: [], citations: [] };
    const { client } = scripted(refused(410), Response.json({ ...stored, model: "m", finish_reason: "stop" }));
    expect(await told(client.follow("r1"))).toEqual(["sources", "Paris.", "done"]);
  });

  it("is read as a whole where fetch gives no stream", async () => {
    const whole = await stream([sources, token("Paris"), done]).text();
    const response = new Response("", { headers: { "X-Run-Id": "r1" } });
    Object.defineProperty(response, "body", { value: undefined });
    response.text = () => Promise.resolve(whole);
    expect(await told(scripted(response).client.follow("r1"))).toEqual(["sources", "Paris", "done"]);
  });
});

describe("documents and search", () => {
  const document = (status: string, error: object | null = null) => ({ doc_id: "d1", status, error });

  it("asks in the server's words", async () => {
    const { client, asked } = scripted(
      Response.json({ items: [] }),
      Response.json(document("queued")),
      Response.json({ items: [], next_cursor: null }),
      new Response(null, { status: 204 }),
    );
    await client.search("a b", { k: 3, docId: "d1" });
    await client.documents.upload(new Blob(["text"]), { name: "a.txt", collectionId: "c1", waitSeconds: 0 });
    await client.documents.list({ q: "x", limit: 5 });
    await client.documents.delete("d1");
    expect(asked).toEqual([
      "t1 GET /search?q=a+b&k=3&doc_id=d1",
      "t1 POST /documents/?wait=0&collection_id=c1",
      "t1 GET /documents/?q=x&limit=5",
      "t1 DELETE /documents/d1",
    ]);
  });

  it("waits for a document, and throws why it cannot be read", async () => {
    const news = (...values: object[]) =>
      new Response(values.map((one) => `data: ${JSON.stringify(one)}\n\n`).join(""));
    const { client } = scripted(
      news(document("processing"), document("ready")),
      news(document("failed", { code: "encrypted", message: "It is encrypted." })),
    );
    expect(await client.documents.ready("d1")).toMatchObject({ status: "ready" });
    await expect(client.documents.ready("d1")).rejects.toMatchObject({
      code: "encrypted",
      message: "It is encrypted.",
    });
  });
});
