import { describe, expect, it } from "vitest";

import { readFrames, type Frame } from "./frames.js";

const STREAM = [
  'retry: 2000\nid: r:1\ndata: {"type":"sources","sources":[]}\n\n',
  ": hb\n",
  'id: r:2\ndata: {"type":"token","text":"Žluťoučký 🐎 \u2028\\u0085\\n"}\n\n',
  'id: r:3\ndata: {"type":"surprise","text":"of a newer server"}\n\n',
  'id: r:4\ndata: {"type":"done","model":"m","finish_reason":"stop"}\n\n',
].join("");

async function read(chunks: Uint8Array[]): Promise<Frame[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  const frames: Frame[] = [];
  for await (const batch of readFrames(new Response(body))) frames.push(...batch);
  return frames;
}

describe("readFrames", () => {
  const bytes = new TextEncoder().encode(STREAM);

  it("gives the same frames wherever the network cuts the bytes", async () => {
    const whole = await read([bytes]);
    expect(whole.map((frame) => frame.seq)).toEqual([1, 2, 3, 4]);
    expect(whole[1]?.event).toEqual({ type: "token", text: "Žluťoučký 🐎 \u2028\u0085\n" });
    expect(whole[2]?.event).toBeNull();
    for (let cut = 1; cut < bytes.length; cut += 1) {
      expect(await read([bytes.slice(0, cut), bytes.slice(cut)]), `cut at ${cut}`).toEqual(whole);
    }
    expect(await read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  it("drops a frame that the end of the connection cut short", async () => {
    expect(await read([bytes.slice(0, -1)])).toHaveLength(3);
  });

  it("takes a silent connection for a broken one, and lets go of it", async () => {
    let cancelled = false;
    const silent = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) });
    for await (const batch of readFrames(new Response(silent), 5)) expect(batch).toBeNull();
    expect(cancelled).toBe(true);
  });

  it("ends quietly when the connection breaks", async () => {
    const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new TypeError("network")) });
    for await (const batch of readFrames(new Response(broken))) expect(batch).toBeNull();
  });
});
