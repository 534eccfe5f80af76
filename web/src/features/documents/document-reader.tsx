import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";

import { documentTextQuery } from "../../api/documents";
import { messageOf } from "../../api/problem";
import { IconButton } from "../../ui/button";
import styles from "./document-reader.module.css";
import { cutIntoPieces, type Range } from "./passages";

export interface ReaderTarget {
  docId: string;
  title: string;
  page: number | null;
  /** The cited passage, in code points of the extracted text; null opens the document at its beginning. */
  passage: Range | null;
  /** The number of the citation that was followed. */
  citation: number | null;
}

/** A document's extracted text, with the cited passage marked and in view. */
export function DocumentReader({ target, onClose }: { target: ReaderTarget; onClose: () => void }) {
  const { data, error, isPending } = useQuery(documentTextQuery(target.docId));
  const { passage } = target;
  const pieces = useMemo(() => (data ? cutIntoPieces(data, passage) : []), [data, passage]);
  const mark = useRef<HTMLElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);

  useEffect(() => heading.current?.focus({ preventScroll: true }), [target]);
  useEffect(() => {
    show(mark.current);
    // Pieces that were never laid out have an estimated height; the second time all above the mark is known.
    const frame = requestAnimationFrame(() => show(mark.current));
    return () => cancelAnimationFrame(frame);
  }, [pieces]);

  const firstMarked = pieces.findIndex((piece) => piece.marked !== "");
  return (
    <aside className={styles.reader} aria-labelledby="reader-title" data-testid="reader">
      <header className={styles.head}>
        <div className={styles.titles}>
          <h2 id="reader-title" ref={heading} tabIndex={-1}>
            {target.title}
          </h2>
          <p>{describe(target)}</p>
        </div>
        <IconButton icon="close" label="Close the document" onClick={onClose} data-testid="close-reader" />
      </header>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label="Text of the document">
        {isPending && <p className={styles.note}>Opening…</p>}
        {error && <p className={styles.note}>{messageOf(error)}</p>}
        {pieces.map((piece, index) => (
          <section key={index} className={styles.piece}>
            {piece.page !== null && data && data.pages.length > 1 && <h3>Page {piece.page}</h3>}
            <p>
              {piece.before}
              {piece.marked && (
                <mark ref={index === firstMarked ? mark : null} data-testid="passage-highlight">
                  {piece.marked}
                </mark>
              )}
              {piece.after}
            </p>
          </section>
        ))}
      </div>
    </aside>
  );
}

/** In the middle, or from its first line where it is too long for that. */
function show(mark: HTMLElement | null): void {
  const tall = mark !== null && mark.getBoundingClientRect().height > innerHeight / 2;
  mark?.scrollIntoView({ block: tall ? "start" : "center" });
}

function describe({ citation, page }: ReaderTarget): string {
  if (citation === null) return "Extracted text";
  return page === null ? `Source ${citation}` : `Source ${citation} · page ${page}`;
}
