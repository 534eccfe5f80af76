import { expect, it, vi } from "vitest";

import { AnswerStore } from "./answer-store";
import { beginning } from "./reduce";

it("changes once per frame, however many signals arrive", () => {
  const frames: (() => void)[] = [];
  const store = new AnswerStore(beginning("q"), (callback) => frames.push(callback));
  const changed = vi.fn();
  store.subscribe(changed);
  for (const text of ["a", "b", "c"]) store.push({ kind: "events", events: [{ type: "token", text }] });
  expect(store.getState().text).toBe("");
  expect(frames).toHaveLength(1);
  frames[0]?.();
  expect(store.getState().text).toBe("abc");
  expect(changed).toHaveBeenCalledTimes(1);
});
