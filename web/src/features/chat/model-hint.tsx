import { useQuery } from "@tanstack/react-query";

import { modelsQuery } from "../../api/models";
import styles from "./model-hint.module.css";

/** Which model answers; without a language model, how to connect one. */
export function ModelHint() {
  const { data } = useQuery(modelsQuery);
  const current = data?.current;
  if (!current) return <p className={styles.line}>Answers come from your documents; check what matters.</p>;
  if (current.name !== "reader") {
    return <p className={styles.line}>Answered by {current.name} from your documents; check what matters.</p>;
  }
  return (
    <details className={styles.line}>
      <summary>Answers are quotations: no language model is connected.</summary>
      <p className={styles.hint}>
        {current.advice || "Start Ollama with a model on this machine, and Lorestream will use it after a restart."}
      </p>
    </details>
  );
}
