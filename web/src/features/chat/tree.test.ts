import { expect, it } from "vitest";

import { activePath, choose, siblings, unchoose, upTo, type Node } from "./tree";

const node = (id: string, parent: string | null): Node => ({ message_id: id, parent_id: parent });
const ids = (nodes: readonly Node[]): string => nodes.map((one) => one.message_id).join(" ");

/** q1 was answered twice; q2 follows the first answer and was edited to q3; q4 begins anew. */
const TREE = [
  node("q1", null),
  node("a1", "q1"),
  node("q2", "a1"),
  node("a2", "q2"),
  node("b1", "q1"),
  node("q3", "a1"),
  node("a3", "q3"),
];

it("goes to the newest message of all, whichever branch it is on", () => {
  expect(ids(activePath(TREE))).toBe("q1 a1 q3 a3");
  expect(ids(activePath(TREE.slice(0, 5)))).toBe("q1 b1");
  expect(ids(activePath(TREE.slice(0, 4)))).toBe("q1 a1 q2 a2");
  expect(activePath([])).toEqual([]);
});

it("takes the chosen branch, and the newest one below it", () => {
  const older = choose(new Map(), node("q2", "a1"));
  expect(ids(activePath(TREE, older))).toBe("q1 a1 q2 a2");
  const other = choose(older, node("b1", "q1"));
  expect(ids(activePath(TREE, other))).toBe("q1 b1");
  expect(ids(activePath(TREE, choose(other, node("a1", "q1"))))).toBe("q1 a1 q2 a2");
  expect(ids(activePath(TREE, unchoose(older, "a1")))).toBe("q1 a1 q3 a3");
});

it("has several beginnings when the first question was edited", () => {
  const edited = [...TREE, node("q4", null)];
  expect(ids(activePath(edited))).toBe("q4");
  expect(ids(activePath(edited, choose(new Map(), node("q1", null))))).toBe("q1 a1 q3 a3");
  expect(ids(siblings(edited, node("q4", null)))).toBe("q1 q4");
});

it("overlooks a choice that is no longer there", () => {
  expect(ids(activePath(TREE, new Map([["a1", "gone"]])))).toBe("q1 a1 q3 a3");
});

it("knows which messages stand in the same place", () => {
  expect(ids(siblings(TREE, node("q3", "a1")))).toBe("q2 q3");
  expect(ids(siblings(TREE, node("a1", "q1")))).toBe("a1 b1");
});

it("cuts a path after a message, and before the first", () => {
  const path = activePath(TREE);
  expect(ids(upTo(path, "a1"))).toBe("q1 a1");
  expect(upTo(path, null)).toEqual([]);
});
