import type { AnswerState, FinishReason } from "@lorestream/client";
import { useState } from "react";

import type { Message } from "../../api/types";
import { Button, IconButton } from "../../ui/button";
import { copyText } from "../../ui/copy-text";
import { formatSeconds } from "../../ui/format";
import { RetryNote } from "../../ui/retry-note";
import { useSecondsUntil } from "../../ui/use-seconds-until";
import styles from "./answer-footer.module.css";
import { BranchNav } from "./branch-nav";
import { CommentForm, Thumbs, useFeedback } from "./feedback";
import type { Branches } from "./turns";

const NOTES: Partial<Record<FinishReason, string>> = {
  length: "The answer reached its length limit and ends here.",
  no_context: "Nothing in your documents came close enough to this question, so no model was asked.",
  content_filter: "The model's provider filtered this answer.",
};

interface Props {
  state: AnswerState;
  /** As the server keeps it, with its conversation; null until it is known there. */
  kept: { conversationId: string; answer: Message } | null;
  branches: Branches | null;
  busy: boolean;
  onAskAgain: () => void;
  /** Null when the question is kept. */
  onDismiss: (() => void) | null;
  onGo: (message: Message) => void;
}

/** How the answer ended, what made it, and what can be done with it. */
export function AnswerFooter({ state, kept, branches, busy, onAskAgain, onDismiss, onGo }: Props) {
  const { phase, error, text } = state;
  const waiting = useSecondsUntil(error?.retryAt ?? null) > 0;
  return (
    <footer className={styles.footer}>
      {error && (
        <div className={styles.error} data-testid="answer-error" data-code={error.code}>
          <p>
            {error.message} <RetryNote at={error.retryAt ?? null} />
          </p>
          {onDismiss && <Button onClick={onDismiss}>Dismiss</Button>}
          <Button icon="retry" disabled={busy || waiting} onClick={onAskAgain}>
            Ask again
          </Button>
        </div>
      )}
      <Note phase={phase} reason={state.done?.finish_reason} />
      {phase === "done" && state.done?.uncited && (
        <p className={styles.note} data-testid="uncited">
          This answer cites none of your documents.
        </p>
      )}
      <div className={styles.line}>
        <BranchNav of={branches} onGo={onGo} />
        {text !== "" && <CopyButton text={text} />}
        {kept && !error && (
          <IconButton icon="retry" label="Answer again" disabled={busy} onClick={onAskAgain} data-testid="regenerate" />
        )}
        {kept && text !== "" ? (
          <Rated {...kept} about={describe(state)} />
        ) : (
          <span className={styles.about}>{describe(state)}</span>
        )}
      </div>
    </footer>
  );
}

function Rated({ conversationId, answer, about }: NonNullable<Props["kept"]> & { about: string }) {
  const feedback = useFeedback(conversationId, answer);
  return (
    <>
      <Thumbs {...feedback} />
      <span className={styles.about}>{about}</span>
      {feedback.commenting && <CommentForm {...feedback} />}
    </>
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
