import type { LorestreamError } from "./error.js";
import type { Signal } from "./follow.js";
import type {
  Citation,
  DoneEvent,
  ErrorEvent,
  RunSnapshot,
  Source,
  StatusEvent,
  StreamEvent,
  Timings,
} from "./types.js";

/** What following reports, and that the user asked to stop (`stopping` until the server has). */
export type AnswerSignal = Signal | { kind: "stopping"; stopping: boolean };

export type Phase = "running" | "done" | "stopped" | "failed";

/** All that is known of one answer; a fold over its signals. */
export interface AnswerState {
  question: string;
  runId: string | null;
  phase: Phase;
  /** The connection broke and is being restored; says nothing about the answer. */
  reconnecting: boolean;
  stopping: boolean;
  status: Pick<StatusEvent, "phase" | "position"> | null;
  text: string;
  /** What the model shows of its thinking; no part of the answer. */
  reasoning: string;
  /** Null until the server has searched. */
  sources: Source[] | null;
  done: (Pick<DoneEvent, "model" | "finish_reason" | "uncited"> & { timings: Timings | null }) | null;
  /** What the server found of the answer's citations, when it has ended. */
  citations: readonly Citation[];
  /** `retryAt`: when it may be asked again (as `Date.now`), where the server said so. */
  error: (Pick<ErrorEvent, "message" | "code" | "retryable"> & { retryAt?: number | null }) | null;
}

export const beginning = (question: string, runId: string | null = null): AnswerState => ({
  question,
  runId,
  phase: "running",
  reconnecting: false,
  stopping: false,
  status: null,
  text: "",
  reasoning: "",
  sources: null,
  done: null,
  citations: [],
  error: null,
});

export function reduce(state: AnswerState, signal: AnswerSignal): AnswerState {
  switch (signal.kind) {
    case "run":
      return { ...state, runId: signal.runId };
    case "stopping":
      return { ...state, stopping: signal.stopping };
    case "live":
      return state.reconnecting ? { ...state, reconnecting: false } : state;
    case "reconnecting":
      return state.reconnecting ? state : { ...state, reconnecting: true };
    case "events":
      return signal.events.reduce(apply, state.reconnecting ? { ...state, reconnecting: false } : state);
    case "snapshot":
      return { ...state, question: signal.run.question, ...stored(signal.run) };
    case "refused":
      return {
        ...state,
        phase: "failed",
        reconnecting: false,
        error: pick(signal.error),
      };
  }
}

const pick = ({ message, code, retryable, retryAt }: LorestreamError) => ({ message, code, retryable, retryAt });

function apply(state: AnswerState, event: StreamEvent): AnswerState {
  if (state.phase !== "running") return state;
  switch (event.type) {
    case "status":
      return { ...state, status: event };
    case "sources":
      return { ...state, sources: event.sources };
    case "token":
      return { ...state, text: state.text + event.text };
    case "done":
      return {
        ...state,
        phase: event.finish_reason === "cancelled" ? "stopped" : "done",
        done: event,
        citations: event.citations,
      };
    case "error":
      return { ...state, phase: "failed", error: event };
    case "reasoning":
      return { ...state, reasoning: state.reasoning + event.text };
  }
}

type Stored = { run_id: string | null } & Pick<
  RunSnapshot,
  "status" | "content" | "sources" | "citations" | "error" | "model" | "finish_reason" | "timings"
> & { uncited?: boolean };

/** A stored answer. It replaces what was folded before: the server kept it, the events may be gone. */
export function stored(run: Stored) {
  const ended = run.status !== "running";
  return {
    runId: run.run_id,
    phase: run.status === "interrupted" ? ("failed" as const) : run.status,
    reconnecting: false,
    text: run.content,
    sources: ended || run.sources.length > 0 ? run.sources : null,
    done:
      ended && run.model
        ? {
            model: run.model,
            finish_reason: run.finish_reason ?? "stop",
            timings: run.timings ?? null,
            uncited: run.uncited ?? false,
          }
        : null,
    citations: run.citations,
    error: run.error ? { ...run.error, retryable: run.error.retryable ?? true } : null,
  };
}
