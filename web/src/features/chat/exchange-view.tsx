import { lazy, Suspense, useSyncExternalStore } from "react";

import type { Source } from "../../api/types";
import type { AnswerState } from "../../stream/reduce";
import { AnswerFooter } from "./answer-footer";
import type { Exchange, Scope } from "./exchange";
import styles from "./exchange-view.module.css";
import { SourceList } from "./source-list";

// The Markdown parser is as large as half of the rest: it is fetched at once, but the page does not wait for it.
const answerText = import("./answer-text");
const AnswerText = lazy(() => answerText.then((module) => ({ default: module.AnswerText })));

interface Props {
  exchange: Exchange;
  last: boolean;
  busy: boolean;
  onOpenSource: (source: Source) => void;
  onAskAgain: (question: string, scope: Scope | null) => void;
}

export function ExchangeView({ exchange, last, busy, onOpenSource, onAskAgain }: Props) {
  const state = useSyncExternalStore(exchange.answer.subscribe, exchange.answer.getState);
  const running = state.phase === "running";
  const waitingFor = running ? whatIsAwaited(state) : null;
  return (
    <article className={styles.exchange} aria-label={state.question}>
      <h2 className={styles.question}>{state.question}</h2>
      {exchange.scope && <p className={styles.scope}>Only in {exchange.scope.title}</p>}
      {state.sources && <SourceList sources={state.sources} onOpen={onOpenSource} />}
      <div
        className={styles.answer}
        data-testid={last ? "answer" : undefined}
        data-state={state.phase}
        data-run-id={state.runId}
        aria-busy={running}
      >
        <Suspense fallback={state.text}>
          <AnswerText text={state.text} running={running} sources={state.sources ?? []} onOpen={onOpenSource} />
        </Suspense>
      </div>
      {waitingFor && (
        <p className={styles.waiting} data-testid="waiting">
          {waitingFor}
        </p>
      )}
      {!running && (
        <AnswerFooter state={state} busy={busy} onAskAgain={() => onAskAgain(state.question, exchange.scope)} />
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
