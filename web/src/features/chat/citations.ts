import type { Nodes, Parent, PhrasingContent, Root, Text } from "mdast";

/** [1], [12], and several in one: [1, 3]; with the word that it proves before and the full stop after it. */
const CITATION = /(\S{0,30}?) ?\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]([.,;:!?)]*)/g;
/** A citation whose closing bracket has not arrived yet. */
const UNFINISHED = / ?\[[\d\s,]{0,12}$/;

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
  return (tree: Root): void => visit(tree);
}

function visit(parent: Parent): void {
  parent.children = parent.children.flatMap((child): Nodes[] => {
    if (child.type === "text") return splitText(child.value);
    if (child.type === "linkReference" && /^[\d\s,]+$/.test(child.identifier)) {
      return splitText(`[${child.identifier}]`);
    }
    if ("children" in child) visit(child);
    return [child];
  }) as Parent["children"];
}

function splitText(value: string): PhrasingContent[] {
  const parts: (Text | Element)[] = [];
  let last = 0;
  for (const match of value.matchAll(CITATION)) {
    const [all, word = "", numbers = "", stop = ""] = match;
    if (match.index > last) parts.push(text(value.slice(last, match.index)));
    parts.push(together([text(word), ...numbers.split(",").map((n) => citation(n.trim())), text(stop)]));
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

const citation = (n: string): Element => ({
  type: "citation",
  data: { hName: "cite", hProperties: { "data-n": n } },
  children: [],
});
