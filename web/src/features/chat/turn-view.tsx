import type { AnswerState } from "@lorestream/client";
import { lazy, Suspense } from "react";

import type { Message, Source } from "../../api/types";
import { AnswerFooter } from "./answer-footer";
import { QuestionView } from "./question-view";
import { Reasoning } from "./reasoning";
import { SourceList } from "./source-list";
import styles from "./turn-view.module.css";
import type { Turn } from "./turns";
import { useAnswer } from "./use-answer";

// The Markdown parser is as large as half of the rest: it is fetched at once, but the page does not wait for it.
const answerText = import("./answer-text");
const AnswerText = lazy(() => answerText.then((module) => ({ default: module.AnswerText })));

const NO_SOURCES: readonly Source[] = [];

/** What can be done with a turn. */
export interface TurnActions {
  edit: (turn: Turn, question: string) => void;
  askAgain: (turn: Turn) => void;
  dismiss: (turn: Turn) => void;
  go: (message: Message) => void;
  openSource: (source: Source) => void;
}

interface Props {
  turn: Turn;
  conversationId: string;
  last: boolean;
  busy: boolean;
  actions: TurnActions;
}

/** A question and its answer. */
export function TurnView({ turn, conversationId, last, busy, actions }: Props) {
  const state = useAnswer(turn);
  const running = state.phase === "running";
  const waitingFor = running ? whatIsAwaited(state) : null;
  return (
    <article className={styles.turn} aria-label={state.question}>
      <QuestionView
        text={state.question}
        branches={turn.questionBranches}
        onEdit={turn.question && !busy ? (text) => actions.edit(turn, text) : null}
        onGo={actions.go}
      />
      {state.sources && <SourceList sources={state.sources} onOpen={actions.openSource} />}
      <Reasoning text={state.reasoning} thinking={running && state.text === ""} />
      <div
        className={styles.answer}
        data-testid={last ? "answer" : undefined}
        data-state={state.phase}
        data-run-id={state.runId}
        aria-busy={running}
      >
        <Suspense fallback={state.text}>
          <AnswerText
            text={state.text}
            running={running}
            sources={state.sources ?? NO_SOURCES}
            citations={state.citations}
            onOpen={actions.openSource}
          />
        </Suspense>
      </div>
      {waitingFor && (
        <p className={styles.waiting} data-testid="waiting">
          {waitingFor}
        </p>
      )}
      {!running && (
        <AnswerFooter
          state={state}
          kept={turn.answer && { conversationId, answer: turn.answer }}
          branches={turn.answerBranches}
          busy={busy}
          onAskAgain={() => actions.askAgain(turn)}
          onDismiss={turn.exchange && state.runId === null ? () => actions.dismiss(turn) : null}
          onGo={actions.go}
        />
      )}
    </article>
  );
}

function whatIsAwaited({ reconnecting, stopping, status, sources, text }: AnswerState): string | null {
  if (reconnecting) return "Reconnecting…";
  if (stopping) return "Stopping…";
  if (text !== "") return null;
  if (status?.phase === "queued") return status.position ? `Waiting in line, place ${status.position}…` : "Waiting…";
  return sources === null ? "Searching your documents…" : "Reading the passages…";
}
