import { createContext, memo, use } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";

import type { Source } from "../../api/types";
import { splitBlocks } from "./blocks";
import { Citation } from "./citation";
import { remarkCitations, withoutUnfinishedCitation } from "./citations";

const PLUGINS = [remarkGfm, remarkCitations];
const SAFE_URL = /^(?:https?:\/\/|mailto:)/i;
const safeUrl = (url: string): string | null => (SAFE_URL.test(url) ? url : null);

interface Cited {
  sources: readonly Source[];
  onOpen: (source: Source) => void;
}

const CitedContext = createContext<Cited>({ sources: [], onOpen: () => undefined });

/** A link out of a model's answer: it says nothing about us, and goes nowhere unless clicked. */
function OutsideLink({ href, children }: { href: string | undefined; children: React.ReactNode }) {
  if (!href) return <span>{children}</span>;
  return (
    <a href={href} title={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

/** A number that is no source is no citation, and is not shown. */
function Cite({ n }: { n: number }) {
  const { sources, onOpen } = use(CitedContext);
  const source = sources.find((candidate) => candidate.n === n);
  return source ? <Citation source={source} onOpen={onOpen} /> : null;
}

const COMPONENTS: Components = {
  a: ({ href, children }) => <OutsideLink href={href}>{children}</OutsideLink>,
  // Never loaded: an image's address can carry away what stands in the documents.
  img: ({ src, alt }) => (
    <OutsideLink href={typeof src === "string" ? src : undefined}>{alt?.trim() ? alt : "image"}</OutsideLink>
  ),
  cite: ({ node }) => <Cite n={Number(node?.properties["data-n"])} />,
  table: ({ children }) => (
    <div data-scroll-x tabIndex={0} role="region" aria-label="Table">
      <table>{children}</table>
    </div>
  ),
};

/** One block of Markdown; equal text is never parsed again. */
const Block = memo(function Block({ text }: { text: string }) {
  return (
    <ReactMarkdown remarkPlugins={PLUGINS} components={COMPONENTS} urlTransform={safeUrl}>
      {text}
    </ReactMarkdown>
  );
});

/** An answer's Markdown, of which only the last block is parsed as it grows. */
export function AnswerText({ text, running, ...cited }: Cited & { text: string; running: boolean }) {
  const blocks = splitBlocks(running ? withoutUnfinishedCitation(text) : text);
  return (
    <CitedContext value={cited}>
      {blocks.map((block, index) => (
        <Block key={index} text={block} />
      ))}
    </CitedContext>
  );
}
