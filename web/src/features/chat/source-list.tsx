import type { Source } from "../../api/types";
import styles from "./source-list.module.css";

/** The passages the answer may use, by number; there before its first word. */
export function SourceList({ sources, onOpen }: { sources: readonly Source[]; onOpen: (source: Source) => void }) {
  if (sources.length === 0) return null;
  return (
    <ol className={styles.list} aria-label="Sources">
      {sources.map((source) => (
        <li key={source.n}>
          <button type="button" className={styles.card} onClick={() => onOpen(source)} data-testid="source-card">
            <span className={styles.head}>
              <span className={styles.number}>{source.n}</span>
              <span className={styles.title}>{source.title}</span>
            </span>
            <span className={styles.snippet}>{source.text}</span>
            {source.page !== null && <span className={styles.page}>Page {source.page}</span>}
          </button>
        </li>
      ))}
    </ol>
  );
}
