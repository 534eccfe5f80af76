/** The server's objects by the names that this package uses for them. */
import type {
  Citation,
  Done,
  Error as ErrorMessage,
  FailureView,
  RunView,
  Source,
  Sources,
  Timings,
  Token,
} from "./wire.js";

export type {
  Citation,
  DocumentList,
  DocumentView as Document,
  FoundPassage as Hit,
  Reasoning as ReasoningEvent,
  SearchAnswer,
  Source,
  Status as StatusEvent,
  StreamEvent,
  Timings,
  Usage,
} from "./wire.js";
export type DoneEvent = Done;
export type ErrorEvent = ErrorMessage;
export type SourcesEvent = Sources;
export type TokenEvent = Token;
export type FinishReason = Done["finish_reason"];

/** A stored run; what the API's description leaves open inside it is as in the events. */
export type RunSnapshot = Omit<RunView, "sources" | "citations" | "error" | "usage" | "timings" | "finish_reason"> & {
  sources: Source[];
  citations: Citation[];
  error: (FailureView & { retryable?: boolean }) | null;
  finish_reason: FinishReason | null;
  usage: Done["usage"];
  timings: Timings | null;
};
