import { beginning, reduce, type AnswerState, type Signal } from "@lorestream/client";
import { expect, it, vi } from "vitest";

import { AnswerStore } from "./answer-store.js";

function followed() {
  const frames: (() => void)[] = [];
  let state: AnswerState = beginning("q", "r1");
  let tell: () => void = () => undefined;
  const source = { getState: () => state, subscribe: (listener: () => void) => ((tell = listener), () => undefined) };
  const store = new AnswerStore(source, (callback) => frames.push(callback));
  const changed = vi.fn();
  store.subscribe(changed);
  const push = (signal: Signal) => {
    state = reduce(state, signal);
    tell();
  };
  const token = (text: string) => push({ kind: "events", events: [{ type: "token", text }], seq: 1 });
  return { store, frames, changed, push, token };
}

it("changes once per frame, however many events arrive", () => {
  const { store, frames, changed, token } = followed();
  ["a", "b", "c"].forEach(token);
  expect(store.getState().text).toBe("");
  expect(frames).toHaveLength(1);
  frames[0]?.();
  expect(store.getState().text).toBe("abc");
  expect(changed).toHaveBeenCalledTimes(1);
  token("d");
  expect(frames).toHaveLength(2);
});

it("shows the end at once, with all that came before it", () => {
  const { store, frames, changed, push, token } = followed();
  token("a");
  push({ kind: "events", events: [{ type: "error", message: "No.", code: "c", retryable: false }], seq: 2 });
  expect(store.getState()).toMatchObject({ phase: "failed", text: "a" });
  frames[0]?.();
  expect(changed).toHaveBeenCalledTimes(1);
});
