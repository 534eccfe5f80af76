import { expect, it } from "vitest";

import { splitBlocks } from "./blocks";

const TEXT = `# Title

First paragraph
of two lines.

1. one

2. two

   more of two
3. three

\`\`\`\`md
\`\`\`
not a fence of its own

still code
\`\`\`\`

| a | b |
|---|---|
| 1 | 2 |

> quoted

~~~
open to the end

`;

it("cuts at blank lines, but not inside lists and fences", () => {
  expect(splitBlocks(TEXT).map((block) => block.trimEnd().split("\n")[0])).toEqual([
    "# Title",
    "First paragraph",
    "1. one",
    "````md",
    "| a | b |",
    "> quoted",
    "~~~",
  ]);
});

it("never changes a finished block as the text grows", () => {
  const blocks = splitBlocks(TEXT);
  expect(blocks.join("")).toBe(TEXT);
  for (let length = 1; length < TEXT.length; length += 1) {
    const growing = splitBlocks(TEXT.slice(0, length));
    expect(growing.slice(0, -1)).toEqual(blocks.slice(0, growing.length - 1));
  }
});
