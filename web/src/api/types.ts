/** The objects of the HTTP surface and the events of a stream (docs/design.md, sections 4 and 5). */

export interface Problem {
  code: string;
  message: string;
  retryable: boolean;
  status: number;
  retry_after?: number;
}

export interface Token {
  access_token: string;
  token_type: string;
  /** Seconds. */
  expires_in: number;
}

export interface User {
  email: string;
}

export type DocumentStatus = "queued" | "processing" | "ready" | "failed" | "cancelled";

export interface Failure {
  code: string;
  message: string;
}

export interface Document {
  doc_id: string;
  filename: string;
  title: string;
  media_type: string;
  bytes: number;
  pages: number | null;
  chunks: number;
  status: DocumentStatus;
  /** 0 to 1. */
  progress: number;
  error: Failure | null;
  created_at: string;
}

export interface DocumentPage {
  items: Document[];
  next_cursor: string | null;
}

/** Offsets count Unicode code points of `text`, not UTF-16 units. */
export interface DocumentText {
  doc_id: string;
  title: string;
  text: string;
  pages: { number: number; start: number; end: number }[];
}

export interface Source {
  n: number;
  doc_id: string;
  chunk_index: number;
  text: string;
  distance: number;
  score: number;
  title: string;
  page: number | null;
  /** Offsets in the document's extracted text, in code points. */
  start: number;
  end: number;
}

export type FinishReason = "stop" | "length" | "cancelled" | "content_filter" | "no_context";

export interface Timings {
  queue_ms: number | null;
  retrieval_ms: number | null;
  first_token_ms: number | null;
  total_ms: number | null;
}

export interface StatusEvent {
  type: "status";
  phase: "queued" | "retrieving" | "generating";
  position?: number;
}

export interface SourcesEvent {
  type: "sources";
  sources: Source[];
}

export interface ReasoningEvent {
  type: "reasoning";
  text: string;
}

export interface TokenEvent {
  type: "token";
  text: string;
}

export interface DoneEvent {
  type: "done";
  model: string;
  finish_reason: FinishReason;
  timings: Timings | null;
  message_id?: string | null;
}

export interface ErrorEvent {
  type: "error";
  message: string;
  code: string;
  retryable: boolean;
}

export type StreamEvent = StatusEvent | SourcesEvent | ReasoningEvent | TokenEvent | DoneEvent | ErrorEvent;

export type RunStatus = "running" | "done" | "stopped" | "interrupted" | "failed";

export interface RunSnapshot {
  run_id: string;
  status: RunStatus;
  question: string;
  content: string;
  sources: Source[] | null;
  error: (Failure & { retryable?: boolean }) | null;
  model?: string | null;
  finish_reason?: FinishReason | null;
  timings?: Timings | null;
}

export interface Models {
  items: { name: string; description: string }[];
  current: { name: string; why: string; hint: string | null };
}
