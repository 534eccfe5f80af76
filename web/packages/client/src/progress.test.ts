import { describe, expect, it } from "vitest";

import type { Link } from "./follow.js";
import { followProgress, type ProgressSignal } from "./progress.js";

interface Thing {
  status: string;
}

const settled = ({ status }: Thing): boolean => status === "ready";
const sse = (...values: Thing[]): Response =>
  new Response([": hb\n", ...values.map((value) => `data: ${JSON.stringify(value)}\n\n`)].join(""));
const json = (status: number, body: unknown): Response => new Response(JSON.stringify(body), { status });

/** A server that answers in this order; null is a network that is down. */
async function heard(answers: (Response | null)[]): Promise<string[]> {
  const asked: string[] = [];
  const link: Link = {
    fetch: (path) => {
      asked.push(path);
      const answer = answers.shift();
      return answer ? Promise.resolve(answer) : Promise.reject(new TypeError("network"));
    },
    pause: () => Promise.resolve(),
  };
  const words: string[] = [];
  const say = (signal: ProgressSignal<Thing>): string => (signal.kind === "heard" ? signal.value.status : signal.kind);
  for await (const signal of followProgress<Thing>(link, { path: "/d/1", settled }, new AbortController().signal)) {
    words.push(say(signal));
  }
  expect(answers).toEqual([]);
  return [...words, ...asked.map((path) => (path.endsWith("/events") ? "stream" : "read"))];
}

describe("followProgress", () => {
  it("tells what the stream tells, and ends when it is settled", async () => {
    const words = await heard([sse({ status: "queued" }, { status: "processing" }, { status: "ready" })]);
    expect(words).toEqual(["queued", "processing", "ready", "stream"]);
  });

  it("reads what it is now when the stream is over before (204), and ends", async () => {
    const words = await heard([new Response(null, { status: 204 }), json(200, { status: "ready" })]);
    expect(words).toEqual(["ready", "stream", "read"]);
  });

  it("goes on after a connection that breaks, and says that nothing is heard while it is down", async () => {
    const words = await heard([
      sse({ status: "processing" }),
      json(200, { status: "processing" }),
      null,
      null,
      sse({ status: "ready" }),
    ]);
    expect(words).toEqual([
      "processing",
      "processing",
      "silent",
      "ready",
      "stream",
      "read",
      "stream",
      "read",
      "stream",
    ]);
  });

  it("asks again and again where streams are refused", async () => {
    const refused = () => json(503, { code: "busy", message: "Busy." });
    const words = await heard([refused(), json(200, { status: "queued" }), refused(), json(200, { status: "ready" })]);
    expect(words.slice(0, 2)).toEqual(["queued", "ready"]);
  });

  it("ends when it is gone", async () => {
    const gone = () => json(404, { code: "not_found", message: "There is no such document." });
    expect((await heard([gone(), gone()])).slice(0, 1)).toEqual(["gone"]);
  });
});
