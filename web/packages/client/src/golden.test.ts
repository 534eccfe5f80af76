import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

import { isTerminal } from "./decode.js";
import { readFrames, type Frame } from "./frames.js";
import { beginning, reduce } from "./reduce.js";

/** The streams that the server's own tests pin, byte for byte. */
const FOLDER = new URL("../../../../wire/streams/", import.meta.url);
const names = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => name.endsWith(".sse")) : [];

async function read(bytes: Uint8Array): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const batch of readFrames(new Response(new Uint8Array(bytes)))) frames.push(...batch);
  return frames;
}

describe.skipIf(names.length === 0)("the golden streams", () => {
  it.each(names)("%s folds to its text and its end", async (name) => {
    const frames = await read(readFileSync(new URL(name, FOLDER)));
    const events = frames.map((frame) => frame.event).filter((event) => event !== null);
    expect(events).toHaveLength(frames.length);
    expect(frames.map((frame) => frame.seq)).toEqual(frames.map((_, index) => index + 1));
    expect(events.filter(isTerminal)).toEqual(events.slice(-1));
    const state = reduce(beginning("q"), { kind: "events", events, seq: events.length });
    expect(state.text).toBe(events.map((event) => (event.type === "token" ? event.text : "")).join(""));
    expect(state.phase).not.toBe("running");
  });
});
