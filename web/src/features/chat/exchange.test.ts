import type { Link } from "@lorestream/client";
import { beforeEach, expect, it, vi } from "vitest";

import { Exchange, type Place } from "./exchange";

beforeEach(() => {
  vi.stubGlobal("document", { hidden: false });
  vi.stubGlobal("requestAnimationFrame", (callback: () => void) => queueMicrotask(callback));
});

/** A server whose stream opens and goes on as the test says. */
function scripted() {
  const asked: string[] = [];
  let open: () => void = () => undefined;
  let send: (event: object) => void = () => undefined;
  let seq = 0;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const encoder = new TextEncoder();
      send = (event) => controller.enqueue(encoder.encode(`id: r1:${(seq += 1)}\ndata: ${JSON.stringify(event)}\n\n`));
    },
  });
  const link: Link = {
    fetch: (path, init) => {
      asked.push(`${init.method ?? "GET"} ${path}`);
      if (path.endsWith("/stop")) return Promise.resolve(new Response(null, { status: 202 }));
      return new Promise((resolve) => (open = () => resolve(new Response(body, { headers: { "X-Run-Id": "r1" } }))));
    },
    pause: () => Promise.resolve(),
  };
  return { link, asked, open: () => open(), send: (event: object) => send(event) };
}

const cancelled = { type: "done", model: "m", finish_reason: "cancelled" };

const place: Place = { conversationId: "c1", parentId: null, kind: "question" };
const asking = { path: "/conversations/c1/questions", body: { client_request_id: "i1", question: "q" } };
const begin = (link: Link, onChange = () => undefined) => Exchange.begin(link, onChange, place, "q", asking);

it("tells when the server has taken the question, and when the answer has ended", async () => {
  const { link, open, send } = scripted();
  const changed = vi.fn();
  const exchange = begin(link, changed);
  expect(changed).not.toHaveBeenCalled();
  open();
  await vi.waitFor(() => expect(changed).toHaveBeenCalledTimes(1));
  expect(exchange.answer.getState().runId).toBe("r1");
  send({ type: "sources", sources: [] });
  send({ type: "done", model: "m", finish_reason: "stop" });
  await vi.waitFor(() => expect(changed).toHaveBeenCalledTimes(2));
  expect(exchange.running).toBe(false);
});

it("stops before the run has an id, as soon as it has one", async () => {
  const { link, asked, open, send } = scripted();
  const exchange = begin(link);
  exchange.stop();
  exchange.stop();
  expect(exchange.answer.getState()).toMatchObject({ stopping: true, phase: "running" });
  expect(asked).toHaveLength(1);
  open();
  await vi.waitFor(() => expect(asked[1]).toBe("POST /runs/r1/stop"));
  send(cancelled);
  await vi.waitFor(() => expect(exchange.answer.getState()).toMatchObject({ phase: "stopped", text: "" }));
  expect(asked).toHaveLength(2);
});

it("keeps the partial text when it is stopped", async () => {
  const { link, asked, open, send } = scripted();
  const exchange = begin(link);
  open();
  send({ type: "sources", sources: [] });
  send({ type: "token", text: "Half" });
  await vi.waitFor(() => expect(exchange.answer.getState().text).toBe("Half"));
  exchange.stop();
  expect(asked[1]).toBe("POST /runs/r1/stop");
  send(cancelled);
  await vi.waitFor(() => expect(exchange.answer.getState()).toMatchObject({ phase: "stopped", text: "Half" }));
});
