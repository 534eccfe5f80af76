/** The server's objects by the names that this page uses for them. */
import type { Done, Error as ErrorMessage, FailureView, Source, Timings } from "./wire";

export type {
  AccessToken,
  DocumentList,
  DocumentView as Document,
  Profile,
  Source,
  Status as StatusEvent,
  StreamEvent,
  TextView as DocumentText,
  Timings,
} from "./wire";
export type DoneEvent = Done;
export type ErrorEvent = ErrorMessage;
export type FinishReason = Done["finish_reason"];

/** RFC 9457, as docs/design.md has it. */
export interface Problem {
  code: string;
  message: string;
  retryable: boolean;
  status: number;
}

// The description of the API leaves these two open.

export interface RunSnapshot {
  run_id: string;
  status: "running" | "done" | "stopped" | "interrupted" | "failed";
  question: string;
  content: string;
  sources: Source[] | null;
  error: (FailureView & { retryable?: boolean }) | null;
  model?: string | null;
  finish_reason?: FinishReason | null;
  timings?: Timings | null;
}

export interface Models {
  items: { name: string; description: string }[];
  current: { name: string; why: string; advice: string | null };
}
