import { expect, it } from "vitest";

import { marked } from "./marked";

const words = (text: string, query: string): string[] =>
  marked(text, query)
    .filter((part) => part.marked)
    .map((part) => part.text);

it("marks the words of the query and their nearest forms, and loses nothing of the text", () => {
  const text = "The warranty lasts three years; warranties of CAFÉ kettles end.";
  expect(words(text, "warranty cafe kettle of")).toEqual(["warranty", "warranties", "CAFÉ", "kettles"]);
  expect(
    marked(text, "warranty cafe")
      .map((part) => part.text)
      .join(""),
  ).toBe(text);
});

it("does not mark what only begins alike", () => {
  expect(words("wart warning war", "warranty")).toEqual([]);
  expect(words("anything", "")).toEqual([]);
  expect(words("The owl of the day", "the owl")).toEqual(["The", "owl", "the"]);
});
