import { beforeEach, expect, it, vi } from "vitest";

import type { Link } from "../../stream/follow";
import { Exchange } from "./exchange";

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

it("asks with the question, the document and a run that outlives the connection", () => {
  const { link, asked } = scripted();
  Exchange.begin(link, "Why & how?", { docId: "d1", title: "Report" });
  expect(asked).toEqual(["GET /query/stream/?question=Why+%26+how%3F&on_disconnect=continue&doc_id=d1"]);
});

it("stops before the run has an id, as soon as it has one", async () => {
  const { link, asked, open, send } = scripted();
  const exchange = Exchange.begin(link, "q", null);
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
  const exchange = Exchange.begin(link, "q", null);
  open();
  send({ type: "sources", sources: [] });
  send({ type: "token", text: "Half" });
  await vi.waitFor(() => expect(exchange.answer.getState().text).toBe("Half"));
  exchange.stop();
  expect(asked[1]).toBe("POST /runs/r1/stop");
  send(cancelled);
  await vi.waitFor(() => expect(exchange.answer.getState()).toMatchObject({ phase: "stopped", text: "Half" }));
});
