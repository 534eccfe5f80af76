const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const LIST_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;
/** The last line as it arrives: a number that may yet become a list item. */
const BEGUN_ITEM = /^ {0,3}\d{1,9}$/;
const INDENTED = /^(?: {2,}|\t)/;

/**
 * Cut growing Markdown into blocks such that text appended later can change only the last one.
 *
 * A block ends at a blank line outside a code fence, unless what follows belongs to it: indented lines, and further
 * items of a list. Joined by nothing the blocks are the text again.
 */
export function splitBlocks(text: string): string[] {
  const blocks: string[] = [];
  let start = 0;
  let fence: string | null = null;
  let blank = false;
  let list = false;
  for (let at = 0; at < text.length;) {
    const newline = text.indexOf("\n", at);
    const end = newline === -1 ? text.length : newline + 1;
    const line = text.slice(at, end);
    const isBlank = line.trim() === "";
    const isItem = LIST_ITEM.test(line) || BEGUN_ITEM.test(line);
    if (blank && !isBlank && fence === null && !INDENTED.test(line) && !(list && isItem)) {
      blocks.push(text.slice(start, at));
      start = at;
      list = false;
    }
    if (fence === null && isItem) list = true;
    fence = nextFence(fence, line);
    blank = isBlank && fence === null;
    at = end;
  }
  if (start < text.length) blocks.push(text.slice(start));
  return blocks;
}

/** The fence that is open after this line: closed by at least as many of the same character, and nothing else. */
function nextFence(open: string | null, line: string): string | null {
  const marker = FENCE.exec(line)?.[1];
  if (open === null) return marker ?? null;
  const closes = marker !== undefined && marker.startsWith(open) && line.trim() === marker;
  return closes ? null : open;
}
