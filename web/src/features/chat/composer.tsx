import type { SubmitEvent, KeyboardEvent, Ref } from "react";

import { Button, IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import styles from "./composer.module.css";
import type { Exchange, Scope } from "./exchange";
import { ModelHint } from "./model-hint";

const MAX_CHARS = 500;
const COUNT_FROM = 400;

interface Props {
  ref: Ref<HTMLTextAreaElement>;
  draft: string;
  onDraftChange: (draft: string) => void;
  scope: Scope | null;
  onScopeChange: (scope: Scope | null) => void;
  running: Exchange | null;
  onAsk: (question: string) => void;
  /** Null while the end is in view. */
  onJumpToEnd: (() => void) | null;
}

export function Composer(props: Props) {
  const { ref, draft, onDraftChange, scope, onScopeChange, running, onAsk, onJumpToEnd } = props;
  // Counted as the server counts: by code points.
  const length = Array.from(draft).length;
  const ready = draft.trim() !== "" && length <= MAX_CHARS && !running;
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
      <form className={styles.composer} onSubmit={onSubmit}>
        {scope && (
          <div className={styles.scope}>
            <span>
              Only in <strong>{scope.title}</strong>
            </span>
            <IconButton icon="close" label="Ask all documents again" onClick={() => onScopeChange(null)} />
          </div>
        )}
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
          aria-invalid={length > MAX_CHARS}
          onChange={(event) => onDraftChange(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          data-testid="question"
        />
        <span id="question-count" className={styles.count} data-over={length > MAX_CHARS}>
          {length >= COUNT_FROM && `${length} of ${MAX_CHARS}`}
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
