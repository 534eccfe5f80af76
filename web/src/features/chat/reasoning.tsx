import styles from "./reasoning.module.css";

/** What the model shows of its thinking, folded away: it is no part of the answer. */
export function Reasoning({ text, thinking }: { text: string; thinking: boolean }) {
  if (text === "") return null;
  return (
    <details className={styles.reasoning} data-testid="reasoning">
      <summary>{thinking ? "The model is thinking…" : "What the model thought"}</summary>
      <p>{text}</p>
    </details>
  );
}
