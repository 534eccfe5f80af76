import type { Nodes, Parent, PhrasingContent, Root, Text } from "mdast";

/** [1], [12], and several in one: [1, 3]. */
const CITATION = /\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]/g;
/** A citation whose closing bracket has not arrived yet. */
const UNFINISHED = /\[[\d\s,]{0,12}$/;

interface Citation {
  type: "citation";
  data: { hName: "cite"; hProperties: { "data-n": string } };
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
    if (child.type === "text") return splitText(child);
    if (child.type === "linkReference" && /^[\d\s,]+$/.test(child.identifier)) {
      return splitText({ type: "text", value: `[${child.identifier}]` });
    }
    if ("children" in child) visit(child);
    return [child];
  }) as Parent["children"];
}

function splitText({ value }: Text): PhrasingContent[] {
  const parts: (Text | Citation)[] = [];
  let last = 0;
  for (const match of value.matchAll(CITATION)) {
    if (match.index > last) parts.push({ type: "text", value: value.slice(last, match.index) });
    for (const n of (match[1] ?? "").split(",")) parts.push(citation(n.trim()));
    last = match.index + match[0].length;
  }
  if (last < value.length) parts.push({ type: "text", value: value.slice(last) });
  // remark-rehype turns any node with `hName` into that element; mdast's types do not know ours.
  return parts as PhrasingContent[];
}

const citation = (n: string): Citation => ({
  type: "citation",
  data: { hName: "cite", hProperties: { "data-n": n } },
});
