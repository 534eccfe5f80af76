import type { Hit } from "../../api/types";
import { marked } from "./marked";
import styles from "./search-page.module.css";

interface Props {
  hit: Hit;
  query: string;
  /** From 1. */
  place: number;
  /** Whether to show why it was found. */
  playing: boolean;
  /** Its place with the other setting, null for none; undefined without another. */
  beside: number | null | undefined;
  onOpen: () => void;
}

/** One passage; it opens its document there. */
export function HitView({ hit, query, place, playing, beside, onOpen }: Props) {
  const { title, filename, page, heading, text } = hit;
  return (
    <li className={styles.hit}>
      <button type="button" onClick={onOpen} data-testid="hit" data-chunk={hit.chunk_index}>
        <span className={styles.where}>
          <strong title={filename}>{title}</strong>
          {page !== null && <span>page {page}</span>}
          {heading && <span>{heading}</span>}
        </span>
        <span className={styles.text}>
          {marked(text, query).map((part, index) =>
            part.marked ? <mark key={index}>{part.text}</mark> : <span key={index}>{part.text}</span>,
          )}
        </span>
      </button>
      {playing && <Why hit={hit} place={place} beside={beside} />}
    </li>
  );
}

function Why({ hit: { ranks, distance, score }, place, beside }: Pick<Props, "hit" | "place" | "beside">) {
  const rank = (value: number | null) => (value === null ? "–" : `#${value}`);
  return (
    <dl className={styles.why} data-testid="why">
      <Fact name="place" value={`#${place}`} />
      <Fact name="by meaning" value={rank(ranks.dense)} />
      <Fact name="by words" value={rank(ranks.lexical)} />
      {ranks.rerank !== null && <Fact name="reranked" value={rank(ranks.rerank)} />}
      <Fact name="distance" value={distance.toFixed(4)} />
      <Fact name="score" value={score.toFixed(4)} />
      {beside !== undefined && <Fact name="beside" value={beside === null ? "not there" : `#${beside}`} />}
    </dl>
  );
}

const Fact = ({ name, value }: { name: string; value: string }) => (
  <div>
    <dt>{name}</dt>
    <dd>{value}</dd>
  </div>
);
