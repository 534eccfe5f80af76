import { LorestreamClient } from "@lorestream/client";
import { act, StrictMode, type ReactElement } from "react";
import { create } from "react-test-renderer";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { useAnswer, type UseAnswer } from "./use-answer.js";

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  // The test renderer says with every use that it is deprecated.
  vi.spyOn(console, "error").mockImplementation((first: unknown) => {
    if (!String(first).includes("react-test-renderer is deprecated")) throw new Error(String(first));
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A server whose answers go on as the test says, and a component that shows one. */
function rendered() {
  const asked: string[] = [];
  let send: (event: object) => void = () => undefined;
  let seq = 0;
  const client = new LorestreamClient({
    url: "",
    fetch: (input, init) => {
      const cursor = new Headers(init?.headers).get("Last-Event-ID");
      asked.push(`${init?.method ?? "GET"} ${input as string}${cursor ? ` after ${cursor}` : ""}`);
      if ((input as string).endsWith("/stop")) return Promise.resolve(Response.json({}, { status: 202 }));
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          init?.signal?.addEventListener("abort", () => controller.error(new TypeError("aborted")));
          send = (event) => {
            const frame = `id: r1:${(seq += 1)}\ndata: ${JSON.stringify(event)}\n\n`;
            controller.enqueue(new TextEncoder().encode(frame));
          };
        },
      });
      return Promise.resolve(new Response(body, { headers: { "X-Run-Id": "r1" } }));
    },
  });
  let shown: UseAnswer | null = null;
  let renders = 0;
  function Probe() {
    shown = useAnswer(client);
    renders += 1;
    return null;
  }
  const tree = (
    <StrictMode>
      <Probe />
    </StrictMode>
  );
  const now = (): UseAnswer => shown ?? expect.fail("nothing is rendered");
  return { tree, asked, now, renders: () => renders, send: (event: object) => send(event) };
}

/** Until the answer shows it; every step within React's own time. */
const until = async (seen: () => boolean) => {
  for (let steps = 0; steps < 500 && !seen(); steps += 1) {
    await act(() => new Promise((resolve) => setTimeout(resolve, 2)));
  }
  expect(seen()).toBe(true);
};

/** Do it, and let React come to rest. */
const during = async <T,>(work: () => T): Promise<T> => {
  const results: T[] = [];
  await act(() => {
    results.push(work());
    return Promise.resolve();
  });
  return results[0] as T;
};

// Deprecated in favour of renderers that need a DOM, which this hook does without.
// eslint-disable-next-line @typescript-eslint/no-deprecated
const render = (tree: ReactElement) => during(() => create(tree));

it("asks once, shows the answer as it grows, and stops it", async () => {
  const { tree, asked, now, renders, send } = rendered();
  await render(tree);
  expect(now()).toMatchObject({ phase: "idle", running: false, text: "" });
  await during(() => now().ask("Where?", { conversationId: "c1" }));
  await until(() => now().runId === "r1");
  expect(now().running).toBe(true);
  const before = renders();
  await during(() => {
    send({ type: "sources", sources: [{ n: 1 }] });
    for (const text of ["Pa", "ri", "s"]) send({ type: "token", text });
  });
  await until(() => now().text === "Paris");
  expect(now().sources).toEqual([{ n: 1 }]);
  // Four events, one frame or two; strict mode renders each twice.
  expect(renders() - before).toBeLessThanOrEqual(4);
  await during(() => now().stop());
  expect(now().stopping).toBe(true);
  await during(() => send({ type: "done", model: "m", finish_reason: "cancelled", citations: [] }));
  await until(() => !now().running);
  expect(now()).toMatchObject({ phase: "stopped", text: "Paris" });
  expect(asked).toEqual(["POST /conversations/c1/questions", "POST /runs/r1/stop"]);
});

it("lets go of the connection when it is unmounted, and stops nothing", async () => {
  const { tree, asked, now, send } = rendered();
  const root = await render(tree);
  const run = await during(() => now().ask("Where?", { conversationId: "c1" }));
  await until(() => now().runId === "r1");
  send({ type: "token", text: "Pa" });
  await until(() => run.text === "Pa");
  await during(() => root.unmount());
  expect(run.connected).toBe(false);
  run.follow();
  await expect.poll(() => asked.at(-1)).toBe("GET /runs/r1/events after r1:1");
  run.leave();
  expect(asked.filter((one) => one.includes("stop"))).toEqual([]);
});
