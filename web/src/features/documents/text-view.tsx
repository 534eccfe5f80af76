import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";

import { documentTextQuery } from "../../api/documents";
import { messageOf } from "../../api/message";
import { cutIntoPieces } from "./passages";
import styles from "./viewer.module.css";
import type { ViewerTarget } from "./viewer";

/** A document's extracted text, with the passage marked and in view. */
export function TextView({ target: { docId, passage } }: { target: ViewerTarget }) {
  const { data, error, isPending } = useQuery(documentTextQuery(docId));
  const pieces = useMemo(() => (data ? cutIntoPieces(data, passage) : []), [data, passage]);
  const mark = useRef<HTMLElement>(null);
  useEffect(() => {
    show(mark.current);
    // Pieces that were never laid out have an estimated height; the second time all above the mark is known.
    const frame = requestAnimationFrame(() => show(mark.current));
    return () => cancelAnimationFrame(frame);
  }, [pieces]);
  const firstMarked = pieces.findIndex((piece) => piece.marked !== "");
  return (
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
  );
}

/** In the middle, or from its first line where it is too long for that. */
function show(mark: HTMLElement | null): void {
  const tall = mark !== null && mark.getBoundingClientRect().height > innerHeight / 2;
  mark?.scrollIntoView({ block: tall ? "start" : "center" });
}
