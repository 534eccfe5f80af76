import type { Citation } from "../../api/types";
import { citedIn } from "./citations";

/** Of one block: for each number how well it supports what it stands at, the first of them first. */
export type Supports = ReadonlyMap<number, readonly number[]>;

/** As measured in docs/evaluation.md: hardly a supported sentence is below the first, hardly an unsupported one above. */
export const WEAK_BELOW = 0.3;
const WELL_FROM = 0.8;

/** Deal the server's findings, which are in the order of the answer, to its blocks. */
export function supportsOf(blocks: readonly string[], citations: readonly Citation[]): Supports[] {
  const rest = new Map<number, Citation[]>();
  for (const one of citations) rest.set(one.n, [...(rest.get(one.n) ?? []), one]);
  return blocks.map((block) => {
    const own = new Map<number, number[]>();
    for (const n of citedIn(block)) {
      const found = rest.get(n)?.shift();
      if (found) own.set(n, [...(own.get(n) ?? []), found.support]);
    }
    return own;
  });
}

/** "well supported, 0.82" */
export function supportInWords(support: number): string {
  const words = support >= WELL_FROM ? "Well supported" : support >= WEAK_BELOW ? "Supported" : "Weakly supported";
  return `${words}, ${support.toFixed(2)}`;
}
