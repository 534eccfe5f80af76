import { useState } from "react";

import type { FinishReason } from "../../api/types";
import type { AnswerState } from "../../stream/reduce";
import { copyText } from "../../ui/copy-text";
import { formatSeconds } from "../../ui/format";
import { Button, IconButton } from "../../ui/button";
import styles from "./answer-footer.module.css";

const NOTES: Partial<Record<FinishReason, string>> = {
  length: "The answer reached its length limit and ends here.",
  no_context: "Nothing in your documents came close enough to this question, so no model was asked.",
  content_filter: "The model's provider filtered this answer.",
};

interface Props {
  state: AnswerState;
  busy: boolean;
  onAskAgain: () => void;
}

/** How the answer ended, what made it, and what can be done with it. */
export function AnswerFooter({ state, busy, onAskAgain }: Props) {
  const { phase, error, text } = state;
  return (
    <footer className={styles.footer}>
      {error && (
        <div className={styles.error} data-testid="answer-error" data-code={error.code}>
          <p>{error.message}</p>
          <Button icon="retry" disabled={busy} onClick={onAskAgain}>
            Ask again
          </Button>
        </div>
      )}
      <Note phase={phase} reason={state.done?.finish_reason} />
      <div className={styles.line}>
        {text !== "" && <CopyButton text={text} />}
        <span>{describe(state)}</span>
      </div>
    </footer>
  );
}

function Note({ phase, reason }: { phase: AnswerState["phase"]; reason: FinishReason | undefined }) {
  const note = phase === "stopped" ? "Stopped. What had come is kept." : reason && NOTES[reason];
  return note ? <p className={styles.note}>{note}</p> : null;
}

function CopyButton({ text }: { text: string }) {
  const [result, setResult] = useState<"idle" | "copied" | "failed">("idle");
  const copy = async () => {
    setResult((await copyText(text)) ? "copied" : "failed");
    setTimeout(() => setResult("idle"), 2_000);
  };
  const label = { idle: "Copy answer", copied: "Copied", failed: "Copying is not allowed here" }[result];
  return (
    <IconButton
      icon={result === "copied" ? "check" : "copy"}
      label={label}
      onClick={() => void copy()}
      data-testid="copy"
    />
  );
}

function describe({ done }: AnswerState): string {
  if (!done) return "";
  const { first_token_ms: first = null, total_ms: total = null } = done.timings ?? {};
  return [
    done.model,
    first === null ? null : `first word ${formatSeconds(first)}`,
    total === null ? null : `${formatSeconds(total)} in all`,
  ]
    .filter(Boolean)
    .join(" · ");
}
