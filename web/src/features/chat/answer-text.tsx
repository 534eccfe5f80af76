import { createContext, memo, use, useMemo } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";

import type { Citation as Cited, Source } from "../../api/types";
import { splitBlocks } from "./blocks";
import { Citation } from "./citation";
import { remarkCitations, withoutUnfinishedCitation } from "./citations";
import { supportsOf, type Supports } from "./supports";

const PLUGINS = [remarkGfm, remarkCitations];
const SAFE_URL = /^(?:https?:\/\/|mailto:)/i;
const safeUrl = (url: string): string | null => (SAFE_URL.test(url) ? url : null);

interface Citable {
  sources: readonly Source[];
  onOpen: (source: Source) => void;
}

const CitableContext = createContext<Citable>({ sources: [], onOpen: () => undefined });
/** How well the sources support what a block says. */
const SupportContext = createContext<Supports>(new Map());

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
function Cite({ n, nth }: { n: number; nth: number }) {
  const { sources, onOpen } = use(CitableContext);
  const support = use(SupportContext).get(n)?.[nth] ?? null;
  const source = sources.find((candidate) => candidate.n === n);
  return source ? <Citation source={source} support={support} onOpen={onOpen} /> : null;
}

const COMPONENTS: Components = {
  a: ({ href, children }) => <OutsideLink href={href}>{children}</OutsideLink>,
  // Never loaded: an image's address can carry away what stands in the documents.
  img: ({ src, alt }) => (
    <OutsideLink href={typeof src === "string" ? src : undefined}>{alt?.trim() ? alt : "image"}</OutsideLink>
  ),
  cite: ({ node }) => <Cite n={Number(node?.properties["data-n"])} nth={Number(node?.properties["data-nth"])} />,
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

interface Props extends Citable {
  text: string;
  running: boolean;
  /** As the server has checked them; empty while it runs. */
  citations: readonly Cited[];
}

const NONE: Supports = new Map();

/** An answer's Markdown, of which only the last block is parsed as it grows. */
export function AnswerText({ text, running, citations, sources, onOpen }: Props) {
  const blocks = splitBlocks(running ? withoutUnfinishedCitation(text) : text);
  const supports = useMemo(() => (running ? [] : supportsOf(splitBlocks(text), citations)), [text, running, citations]);
  const citable = useMemo(() => ({ sources, onOpen }), [sources, onOpen]);
  return (
    <CitableContext value={citable}>
      {blocks.map((block, index) => (
        <SupportContext key={index} value={supports[index] ?? NONE}>
          <Block text={block} />
        </SupportContext>
      ))}
    </CitableContext>
  );
}
