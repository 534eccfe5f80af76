import type { SearchTimings } from "../../api/types";
import styles from "./search-page.module.css";

const STAGES = [
  ["embed_ms", "embedding the question"],
  ["dense_ms", "by meaning"],
  ["lexical_ms", "by words"],
  ["rerank_ms", "reranking"],
] as const;

const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** Where the time went. */
export function TimingsView({ timings }: { timings: SearchTimings }) {
  const { total_ms: total } = timings;
  return (
    <dl className={styles.timings} aria-label="Timings" data-testid="timings">
      {STAGES.map(([name, label]) => {
        const value = timings[name];
        return value === null ? null : (
          <div key={name}>
            <dt>{label}</dt>
            <dd>
              <meter min={0} max={Math.max(total, 1)} value={value} aria-label={label} /> {ms(value)}
            </dd>
          </div>
        );
      })}
      <div>
        <dt>in all</dt>
        <dd>{ms(total)}</dd>
      </div>
    </dl>
  );
}
