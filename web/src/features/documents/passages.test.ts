import { expect, it } from "vitest";

import { cutIntoPieces, toUtf16 } from "./passages";

const document = (text: string, pages: { number: number; start: number; end: number }[] = []) => ({
  doc_id: "d",
  title: "t",
  text,
  pages,
});

it("translates code points into UTF-16 units", () => {
  const text = "a🐎b🐎c";
  expect(toUtf16(text, [5, 0, 2, 3, 99])).toEqual([7, 0, 3, 4, 7]);
  expect(toUtf16("plain", [4, 1])).toEqual([4, 1]);
});

it("marks exactly the passage, across pages and astral characters", () => {
  const text = "🐎 first page.\nsecond page here.";
  const points = Array.from(text);
  const secondPage = points.indexOf("\n") + 1;
  const start = points.indexOf("p");
  const end = secondPage + "second".length;
  const pages = [
    { number: 4, start: 0, end: secondPage },
    { number: 5, start: secondPage, end: points.length },
  ];
  const pieces = cutIntoPieces(document(text, pages), { start, end });
  expect(pieces).toEqual([
    { page: 4, before: "🐎 first ", marked: "page.\n", after: "" },
    { page: 5, before: "", marked: "second", after: " page here." },
  ]);
});

it("cuts a long text at line ends and loses nothing", () => {
  const text = "A line of forty characters or about that.\n".repeat(1000);
  const pieces = cutIntoPieces(document(text), { start: 20_000, end: 20_500 });
  expect(pieces.length).toBeGreaterThan(3);
  expect(pieces.map((piece) => piece.before + piece.marked + piece.after).join("")).toBe(text);
  expect(pieces.map((piece) => piece.marked).join("")).toBe(text.slice(20_000, 20_500));
});

it("shows everything when there is nothing to mark", () => {
  expect(cutIntoPieces(document("text"), null)).toEqual([{ page: null, before: "", marked: "", after: "text" }]);
  expect(cutIntoPieces(document(""), null)).toEqual([]);
});
