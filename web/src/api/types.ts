/** The server's objects by the names that this page uses for them. */
import type {
  ConversationView as Conversation,
  Done,
  Error as ErrorMessage,
  FailureView,
  MessageView,
  RunView,
  Source,
  Timings,
} from "./wire";

export type {
  AccessToken,
  ConversationList,
  ConversationView as Conversation,
  DocumentList,
  DocumentView as Document,
  Models,
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
  run_id?: string;
  errors?: { field: string; reason: string }[];
}

/** A stored run; what the API's description leaves open inside it is as in the events. */
export type RunSnapshot = Omit<RunView, "sources" | "error" | "timings" | "finish_reason"> & {
  sources: Source[];
  error: (FailureView & { retryable?: boolean }) | null;
  finish_reason: FinishReason | null;
  timings: Timings | null;
};

export type Rating = "up" | "down";

/** A question (`user`) or an answer (`assistant`) in the tree of a conversation, whose edges are `parent_id`. */
export type Message = Omit<MessageView, "sources" | "error" | "timings" | "finish_reason"> &
  Pick<RunSnapshot, "sources" | "error" | "timings" | "finish_reason">;

/** A conversation with the messages of all its branches, in the order they were made. */
export type ConversationDetail = Conversation & { messages: Message[] };

/** How one comes to an account here. */
export interface AccountOptions {
  registration: "open" | "invite" | "closed";
  /** Nobody is registered yet: whoever is next will be the administrator. */
  first: boolean;
  password_min_length: number;
  password_advised_length: number;
}

/** A login. */
export interface LoginView {
  session_id: string;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  user_agent: string;
  ip: string;
  current: boolean;
}

export type Scope = "read" | "ask" | "documents";

export interface KeyView {
  key_id: string;
  name: string;
  prefix: string;
  scopes: Scope[];
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
}

export interface NewKey extends KeyView {
  /** Told this once. */
  key: string;
}

export type LimitName =
  | "requests_per_minute"
  | "running_answers"
  | "tokens_per_day"
  | "uploads_per_hour"
  | "stored_bytes"
  | "documents"
  | "open_streams";

export interface LimitView {
  name: string;
  /** 0 for none. */
  limit: number;
  used: number;
  remaining: number | null;
  resets_at: string | null;
}

/** An account as an administrator sees it. */
export interface UserView {
  user_id: string;
  email: string;
  created_at: string;
  is_admin: boolean;
  disabled_at: string | null;
  last_used_at: string | null;
  documents: number;
  stored_bytes: number;
  limits: Record<string, number> | null;
}

export interface InvitationView {
  invitation_id: string;
  email: string | null;
  created_at: string;
  expires_at: string;
  used_at: string | null;
}

export interface NewInvitation extends InvitationView {
  /** Told this once. */
  code: string;
}

export interface AuditEvent {
  event_id: string;
  at: string;
  kind: string;
  user_id: string | null;
  actor_id: string | null;
  ip: string;
  details: Record<string, unknown>;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
