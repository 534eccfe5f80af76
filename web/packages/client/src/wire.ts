// Generated from wire/ by `make wire`; do not edit.

/** ``answer[start:end]`` cites source ``n``, which supports it from 0 (not at all) to 1 (word for word). */
export interface Citation {
  n: number;
  start: number;
  end: number;
  support: number;
}

/** A page of documents, newest first. */
export interface DocumentList {
  items: DocumentView[];
  next_cursor: string | null;
}

/** A document as its owner sees it. */
export interface DocumentView {
  doc_id: string;
  filename: string;
  title: string;
  media_type: string;
  bytes: number;
  pages: number | null;
  chunks: number;
  status: "queued" | "processing" | "ready" | "failed" | "cancelled";
  progress: number;
  stage: "reading" | "recognising" | "indexing" | null;
  error: FailureView | null;
  reindex: "wanted" | "damaged" | null;
  batch_id: string | null;
  created_at: string;
}

/** The run ended as it should, or was stopped; ``uncited`` when the answer states something without a citation. */
export interface Done {
  type: "done";
  model: string;
  finish_reason: "cancelled" | "content_filter" | "length" | "no_context" | "stop";
  usage: Usage | null;
  timings: Timings;
  citations: Citation[];
  uncited: boolean;
  conversation_id: string | null;
  message_id: string;
}

/** The run failed; ``message`` is for a person, ``message_id`` names what was kept. */
export interface Error {
  type: "error";
  message: string;
  code: string;
  retryable: boolean;
  message_id?: string | null;
  retry_after?: number | null;
  conversation_id?: string;
}

/** Why a document failed. */
export interface FailureView {
  code: string;
  message: string;
}

/** One passage; ``start`` and ``end`` are character offsets in its document's text, ``distance`` is 1 − cosine. */
export interface FoundPassage {
  doc_id: string;
  filename: string;
  title: string;
  chunk_index: number;
  text: string;
  heading: string;
  start: number;
  end: number;
  page: number | null;
  distance: number;
  score: number;
  ranks: RanksView;
}

/** A refusal or a failure (RFC 9457): ``code`` for machines, ``message`` for a person. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  message: string;
  /** Whether the same request may succeed later. */
  retryable: boolean;
  /** Seconds to wait; also in Retry-After. */
  retry_after?: number;
  /** The request's id, also in X-Request-Id. */
  instance?: string;
  /** What is wrong with the request. */
  errors?: {
    field: string;
    reason: string;
  }[];
}

/** A passage's place (from 1) in each search and in the reranker's order, null where it has none. */
export interface RanksView {
  dense: number | null;
  lexical: number | null;
  rerank: number | null;
}

/** A piece of the model's shown thinking; never part of the answer. */
export interface Reasoning {
  type: "reasoning";
  text: string;
}

/** A stored run as its owner sees it; the lists and objects are those of the events. */
export interface RunView {
  run_id: string;
  message_id: string;
  conversation_id: string | null;
  question: string;
  status: "running" | "done" | "stopped" | "interrupted" | "failed";
  content: string;
  sources: Record<string, unknown>[];
  citations: Record<string, unknown>[];
  error: Record<string, unknown> | null;
  model: string | null;
  finish_reason: string | null;
  usage: Record<string, unknown> | null;
  timings: Record<string, unknown> | null;
  created_at: string;
  updated_at: string;
}

/** The passages found, best first. */
export interface SearchAnswer {
  items: FoundPassage[];
  timings: TimingsView;
}

/** A numbered passage as the user sees it; ``start`` and ``end`` are offsets in the document's text. */
export interface Source {
  n: number;
  doc_id: string;
  chunk_index: number;
  text: string;
  distance: number;
  score: number;
  title: string;
  page: number | null;
  start: number;
  end: number;
}

/** The passages of the answer, exactly once, before the first token; empty if there are none. */
export interface Sources {
  type: "sources";
  sources: Source[];
}

/** Where the run is; ``position`` only while it is queued. */
export interface Status {
  type: "status";
  phase: "generating" | "queued" | "retrieving";
  position?: number | null;
}

export type StreamEvent = Status | Sources | Reasoning | Token | Done | Error;

/** Milliseconds since the run began, but ``queue_ms`` and ``retrieval_ms``, which are durations; null where it never came to it. */
export interface Timings {
  queue_ms: number | null;
  retrieval_ms: number | null;
  first_token_ms: number | null;
  total_ms: number;
}

/** Milliseconds; parts that run side by side are the longest of them. */
export interface TimingsView {
  embed_ms: number;
  dense_ms: number;
  lexical_ms: number;
  rerank_ms: number | null;
  total_ms: number;
}

/** A piece of the answer, never empty; the concatenation is the stored answer. */
export interface Token {
  type: "token";
  text: string;
}

/** Token counts as the provider reported them. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}
