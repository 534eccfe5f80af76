import type { Link } from "@lorestream/client";
import { beforeEach, expect, it, vi } from "vitest";

import type { Message } from "../../api/types";
import { ChatSession, choicesIn } from "./chat-session";

beforeEach(() => {
  vi.stubGlobal("document", { hidden: false });
  vi.stubGlobal("requestAnimationFrame", (callback: () => void) => queueMicrotask(callback));
});

const done = { type: "done", model: "m", finish_reason: "stop" };

/** A session over a server that answers each request by a stream that the test ends, or by this refusal. */
function opened(refusal?: number) {
  const asked: { path: string; body: Record<string, unknown> }[] = [];
  const changed: string[] = [];
  const ends: (() => void)[] = [];
  const link: Link = {
    fetch: (path, { body }) => {
      asked.push({ path, body: typeof body === "string" ? (JSON.parse(body) as Record<string, unknown>) : {} });
      if (refusal) return Promise.resolve(Response.json({ code: "c", message: "No." }, { status: refusal }));
      const runId = `r${asked.length}`;
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => {
          const frame = new TextEncoder().encode(`id: ${runId}:1\ndata: ${JSON.stringify(done)}\n\n`);
          ends.push(() => controller.enqueue(frame));
        },
      });
      return Promise.resolve(new Response(stream, { headers: { "X-Run-Id": runId } }));
    },
    pause: () => Promise.resolve(),
  };
  const session = new ChatSession(link, (conversationId) => changed.push(conversationId));
  return { session, asked, changed, end: (index: number) => ends[index]?.() };
}

const running = (runId: string): Message => ({
  message_id: `m-${runId}`,
  parent_id: null,
  role: "assistant",
  content: "",
  status: "running",
  error: null,
  sources: [],
  citations: [],
  uncited: false,
  run_id: runId,
  created_at: "2026-01-01T00:00:00Z",
  finish_reason: null,
  model: null,
  timings: null,
  usage: null,
  feedback: null,
});

it("asks where it is told, and says when to read the conversation again", async () => {
  const { session, asked, changed, end } = opened();
  session.ask("c1", "a7", "Why?");
  expect(asked[0]).toMatchObject({ path: "/conversations/c1/questions", body: { question: "Why?", parent_id: "a7" } });
  expect(session.getLive().busy).toEqual(new Set(["c1"]));
  await vi.waitFor(() => expect(changed).toEqual(["c1"]));
  end(0);
  await vi.waitFor(() => expect(changed).toEqual(["c1", "c1"]));
  expect(session.getLive().busy.size).toBe(0);
});

it("follows what is running once, and forgets what has ended when it is left", async () => {
  const { session, asked, end } = opened();
  session.join("c1", [running("r1"), running("r2")]);
  session.join("c1", [running("r1"), running("r2")]);
  expect(asked.map(({ path }) => path)).toEqual(["/runs/r1/events", "/runs/r2/events"]);
  await vi.waitFor(() => end(0));
  await vi.waitFor(() => expect(session.getLive().exchanges.filter((one) => one.running)).toHaveLength(1));
  session.leave("c1");
  expect(session.getLive().exchanges).toHaveLength(1);
  expect(session.getLive().busy).toEqual(new Set(["c1"]));
});

it("repeats a refused question as a new request, and takes it away when it is dismissed", async () => {
  const { session, asked } = opened(429);
  session.ask("c1", null, "Why?");
  const first = () => session.getLive().exchanges[0];
  await vi.waitFor(() => expect(first()?.running).toBe(false));
  const refused = first();
  if (refused) session.repeat(refused);
  expect(session.getLive().exchanges).toHaveLength(1);
  expect(asked[1]?.body).toMatchObject({ question: "Why?", parent_id: null });
  expect(asked[1]?.body.client_request_id).not.toBe(asked[0]?.body.client_request_id);
  const again = first();
  if (again) session.dismiss(again);
  expect(session.getLive().exchanges).toEqual([]);
});

it("shows the new branch where an older one was looked at", () => {
  const { session } = opened();
  session.choose("c1", { message_id: "q1", parent_id: null });
  expect(choicesIn(session.getLive(), "c1").get(null)).toBe("q1");
  session.ask("c1", null, "Why not?");
  expect(choicesIn(session.getLive(), "c1").has(null)).toBe(false);
});

it("gives back the questions that the server has not taken, and only those", async () => {
  const refused = opened(401);
  refused.session.ask("c1", null, "Will this be lost?");
  await vi.waitFor(() => expect(refused.changed).toEqual(["c1"]));
  expect(refused.session.close()).toEqual([{ conversationId: "c1", question: "Will this be lost?" }]);
  const taken = opened();
  taken.session.ask("c1", null, "And this?");
  await vi.waitFor(() => expect(taken.changed).toEqual(["c1"]));
  expect(taken.session.close()).toEqual([]);
});
