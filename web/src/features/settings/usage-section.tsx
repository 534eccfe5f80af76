import { useQuery } from "@tanstack/react-query";

import { limitsQuery } from "../../api/account";
import { messageOf } from "../../api/message";
import { ProgressBar } from "../../ui/progress-bar";
import { Alert, Panel } from "../../ui/section-page";
import { inWords } from "./limits";
import styles from "./settings.module.css";

const REFRESH_MS = 10_000;

export function UsageSection() {
  const { data = [], error } = useQuery({ ...limitsQuery, refetchInterval: REFRESH_MS });
  return (
    <Panel title="Your limits" about="What you may use, and what is left of it. An administrator can change it.">
      <Alert>{error && messageOf(error)}</Alert>
      <ul className={styles.limits} aria-label="Limits">
        {inWords(data).map(({ name, label, used, left, share, full }) => (
          <li key={name} className={styles.limit} data-full={full} data-testid={`limit-${name}`}>
            <span className={styles.name}>{label}</span>
            <span className={styles.used}>{used}</span>
            {share !== null && <ProgressBar value={share} label={`${label}: ${used}`} />}
            <span className={styles.left}>{left}</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
