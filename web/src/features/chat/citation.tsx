import type { Source } from "../../api/types";
import styles from "./citation.module.css";

export const placeOf = ({ title, page }: Source): string => (page === null ? title : `${title}, page ${page}`);

export function Citation({ source, onOpen }: { source: Source; onOpen: (source: Source) => void }) {
  return (
    <button
      type="button"
      className={styles.citation}
      title={placeOf(source)}
      aria-label={`Source ${source.n}: ${placeOf(source)}`}
      onClick={() => onOpen(source)}
      data-testid="citation"
      data-n={source.n}
    >
      {source.n}
    </button>
  );
}
