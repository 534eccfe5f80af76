import { beginning, type AnswerState, type AskOptions, type LorestreamClient, type Run } from "@lorestream/client";
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";

import { AnswerStore } from "./answer-store.js";

/** An answer as it is now, and what can be done with it. */
export interface UseAnswer extends Omit<AnswerState, "phase"> {
  /** `idle` before the first question. */
  phase: AnswerState["phase"] | "idle";
  running: boolean;
  /** Ask, in place of what was asked before, which is stopped if it is still running. */
  ask: (question: string, options?: Omit<AskOptions, "signal">) => Run;
  /** Show a run that was begun before or elsewhere, from its beginning. */
  follow: (runId: string) => Run;
  /** Stop; the text up to there stays. */
  stop: () => void;
}

interface Shown {
  run: Run;
  store: AnswerStore;
}

const NOTHING = beginning("");
const never = () => () => undefined;
const nothing = () => NOTHING;

/**
 * One answer at a time, rendered at most once per animation frame.
 *
 * While nothing is mounted nothing is read; the run itself goes on, and mounting again takes it up where it was.
 */
export function useAnswer(client: LorestreamClient): UseAnswer {
  const [shown, setShown] = useState<Shown | null>(null);
  const latest = useRef<Run | null>(null);
  const state = useSyncExternalStore(shown?.store.subscribe ?? never, shown?.store.getState ?? nothing, nothing);

  useEffect(() => {
    shown?.run.follow();
    return () => shown?.run.leave();
  }, [shown]);

  const show = useCallback((run: Run): Run => {
    void latest.current?.stop();
    latest.current = run;
    setShown({ run, store: new AnswerStore(run) });
    return run;
  }, []);
  const ask: UseAnswer["ask"] = useCallback((question, options) => show(client.ask(question, options)), [client, show]);
  const follow = useCallback((runId: string) => show(client.follow(runId)), [client, show]);
  const stop = useCallback(() => void latest.current?.stop(), []);

  const running = shown !== null && state.phase === "running";
  return { ...state, phase: shown ? state.phase : "idle", running, ask, follow, stop };
}
