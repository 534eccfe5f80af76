import type { SubmitEvent, KeyboardEvent, Ref } from "react";

import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { RetryNote } from "../../ui/retry-note";
import styles from "./composer.module.css";
import type { Exchange } from "./exchange";
import { ModelHint } from "./model-hint";
import { fitsQuestion, MAX_QUESTION_CHARS, questionLength } from "./question-length";
import { ScopeChips } from "./scope-chips";
import type { Scope } from "./use-scope";

const COUNT_FROM = MAX_QUESTION_CHARS - 400;

/** Why a question could not be asked, and when it can be (as `Date.now`), where the server said so. */
export interface Refusal {
  message: string;
  retryAt: number | null;
}

interface Props {
  ref: Ref<HTMLTextAreaElement>;
  draft: string;
  onDraftChange: (draft: string) => void;
  scope: Scope;
  running: Exchange | null;
  problem: Refusal | null;
  disabled: boolean;
  onAsk: (question: string) => void;
  /** Null while the end is in view. */
  onJumpToEnd: (() => void) | null;
}

export function Composer(props: Props) {
  const { ref, draft, onDraftChange, scope, running, problem, disabled, onAsk, onJumpToEnd } = props;
  const length = questionLength(draft);
  const ready = fitsQuestion(draft) && !running && !disabled;
  const send = () => {
    if (!ready) return;
    onAsk(draft.trim());
    onDraftChange("");
  };
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    send();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <div className={styles.dock}>
      {onJumpToEnd && (
        <div className={styles.jump}>
          <Button icon="down" onClick={onJumpToEnd}>
            To the end
          </Button>
        </div>
      )}
      {problem && (
        <p role="alert" className={styles.problem}>
          {problem.message} <RetryNote at={problem.retryAt} />
        </p>
      )}
      <form className={styles.composer} onSubmit={onSubmit}>
        <ScopeChips scope={scope} />
        <label className="visually-hidden" htmlFor="question">
          Your question
        </label>
        <textarea
          id="question"
          ref={ref}
          rows={1}
          value={draft}
          placeholder="Ask your documents…"
          aria-describedby="question-count"
          aria-invalid={length > MAX_QUESTION_CHARS}
          onChange={(event) => onDraftChange(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          data-testid="question"
        />
        <span id="question-count" className={styles.count} data-over={length > MAX_QUESTION_CHARS}>
          {length >= COUNT_FROM && `${length} of ${MAX_QUESTION_CHARS}`}
        </span>
        {running ? (
          <StopButton exchange={running} />
        ) : (
          <button
            type="submit"
            className={styles.ask}
            disabled={!ready}
            aria-label="Ask"
            title="Ask (Enter)"
            data-testid="ask"
          >
            <Icon name="send" size={20} />
          </button>
        )}
      </form>
      <ModelHint />
    </div>
  );
}

function StopButton({ exchange }: { exchange: Exchange }) {
  return (
    <button
      type="button"
      className={styles.stop}
      aria-label="Stop the answer"
      title="Stop (Esc)"
      onClick={() => exchange.stop()}
      data-testid="stop"
    >
      <Icon name="stop" size={20} />
    </button>
  );
}
