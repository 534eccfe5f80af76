import { expect, it } from "vitest";

import { supportInWords, supportsOf } from "./supports";

const found = (n: number, support: number) => ({ n, support, start: 0, end: 1 });

it("deals the findings to the blocks in the order of the answer", () => {
  const blocks = ["One [1]. Two [1, 2].\n\n", "Code `[2]` and three [2][9].\n"];
  const citations = [found(1, 0.9), found(1, 0.1), found(2, 0.5), found(2, 0.6), found(2, 0.7)];
  const [first, second] = supportsOf(blocks, citations);
  expect(first?.get(1)).toEqual([0.9, 0.1]);
  expect(first?.get(2)).toEqual([0.5]);
  expect(second?.get(2)).toEqual([0.6, 0.7]);
  expect(second?.get(9)).toBeUndefined();
});

it("says how well in words and as a number", () => {
  expect([0.82, 0.6, 0.2].map(supportInWords)).toEqual([
    "Well supported, 0.82",
    "Supported, 0.60",
    "Weakly supported, 0.20",
  ]);
});
