import type { DocumentText } from "../../api/types";

export interface Piece {
  /** The page that begins here, or null. */
  page: number | null;
  before: string;
  marked: string;
  after: string;
}

export interface Range {
  start: number;
  end: number;
}

/** Long texts without pages are cut into pieces of about this many characters, so that only what is seen is laid out. */
const PIECE_CHARS = 6_000;
const ASTRAL = /[\ud800-\udbff][\udc00-\udfff]/;

/** Translate offsets in code points (Python's) into JavaScript's UTF-16 units. `offsets` may be in any order. */
export function toUtf16(text: string, offsets: readonly number[]): number[] {
  if (!ASTRAL.test(text)) return [...offsets];
  const order = offsets.map((offset, index) => ({ offset, index })).sort((a, b) => a.offset - b.offset);
  const result = new Array<number>(offsets.length).fill(text.length);
  let points = 0;
  let next = 0;
  for (let unit = 0; unit <= text.length && next < order.length; points += 1) {
    for (let wanted = order[next]; wanted && wanted.offset <= points; wanted = order[(next += 1)]) {
      result[wanted.index] = unit;
    }
    unit += (text.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1;
  }
  return result;
}

/** The whole text in pieces, page by page where there are pages, with one range of it marked. */
export function cutIntoPieces({ text, pages }: DocumentText, range: Range | null): Piece[] {
  const offsets = toUtf16(text, [range?.start ?? 0, range?.end ?? 0, ...pages.map((page) => page.start)]);
  const [start = 0, end = 0, ...pageStarts] = offsets;
  const cuts = pageStarts.map((at, index) => ({ at, page: pages[index]?.number ?? null }));
  if (cuts[0]?.at !== 0) cuts.unshift({ at: 0, page: null });
  return cuts.flatMap(({ at, page }, index) => {
    const until = cuts[index + 1]?.at ?? text.length;
    return splitLong(text, at, until).map(([from, to], part) => ({
      page: part === 0 ? page : null,
      before: text.slice(from, clamp(start, from, to)),
      marked: text.slice(clamp(start, from, to), clamp(end, from, to)),
      after: text.slice(clamp(end, from, to), to),
    }));
  });
}

function splitLong(text: string, from: number, to: number): [number, number][] {
  const parts: [number, number][] = [];
  while (to - from > PIECE_CHARS * 1.5) {
    const line = text.indexOf("\n", from + PIECE_CHARS);
    const cut = line === -1 || line >= to ? to : line + 1;
    parts.push([from, cut]);
    from = cut;
  }
  if (from < to) parts.push([from, to]);
  return parts;
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
