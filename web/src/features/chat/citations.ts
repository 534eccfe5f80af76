import type { Nodes, Parent, PhrasingContent, Root, Text } from "mdast";

/** [1], [12], and several in one: [1, 3]; with the word that it proves before and the full stop after it. */
const CITATION = /(\S{0,30}?) ?\[(\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,9})\]([.,;:!?)]*)/g;
/** A citation whose closing bracket has not arrived yet. */
const UNFINISHED = / ?\[[\d\s,;]{0,12}$/;

/** Nodes of our own: remark-rehype makes of any node with `hName` that element. */
interface Element {
  type: "citation" | "together";
  data: { hName: string; hProperties: Record<string, string> };
  children: (Text | Element)[];
}

/** Hide the beginning of a citation until all of it is there, so that it does not flash as text. */
export const withoutUnfinishedCitation = (text: string): string => text.replace(UNFINISHED, "");

/**
 * A remark plugin: `[n]` in prose becomes `<cite data-n>`; in code it stays what it is.
 *
 * A model that writes its own `[1]: https://…` makes no link of it either: the numbers are the server's.
 */
export function remarkCitations() {
  return (tree: Root): void => visit(tree, new Map());
}

/** How often each number has stood in the text so far: by that the server's findings are told apart. */
type Counts = Map<number, number>;

function visit(parent: Parent, counts: Counts): void {
  parent.children = parent.children.flatMap((child): Nodes[] => {
    if (child.type === "text") return splitText(child.value, counts);
    if (child.type === "linkReference" && /^[\d\s,;]+$/.test(child.identifier)) {
      return splitText(`[${child.identifier}]`, counts);
    }
    // No citation on the screen, and yet one of the server's.
    if (child.type === "code" || child.type === "inlineCode") splitText(child.value, counts);
    if ("children" in child) visit(child, counts);
    return [child];
  }) as Parent["children"];
}

/** The numbers in a text's citations, in order. */
export const citedIn = (value: string): number[] =>
  Array.from(value.matchAll(CITATION)).flatMap(([, , numbers = ""]) => numbers.split(/[,;]/).map(Number));

function splitText(value: string, counts: Counts): PhrasingContent[] {
  const parts: (Text | Element)[] = [];
  let last = 0;
  for (const match of value.matchAll(CITATION)) {
    const [all, word = "", numbers = "", stop = ""] = match;
    if (match.index > last) parts.push(text(value.slice(last, match.index)));
    parts.push(together([text(word), ...numbers.split(/[,;]/).map((n) => citation(Number(n), counts)), text(stop)]));
    last = match.index + all.length;
  }
  if (last < value.length) parts.push(text(value.slice(last)));
  // mdast's types do not know our nodes.
  return parts as PhrasingContent[];
}

const text = (value: string): Text => ({ type: "text", value });

/** No line begins with a citation, nor with the full stop after it. */
const together = (children: Element["children"]): Element => ({
  type: "together",
  data: { hName: "span", hProperties: { "data-together": "" } },
  children,
});

function citation(n: number, counts: Counts): Element {
  const nth = counts.get(n) ?? 0;
  counts.set(n, nth + 1);
  return {
    type: "citation",
    data: { hName: "cite", hProperties: { "data-n": String(n), "data-nth": String(nth) } },
    children: [],
  };
}
