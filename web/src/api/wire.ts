// Generated from wire/ by `make wire`; do not edit.

export type * from "@lorestream/client/wire";

/** The token answer of OAuth2; the refresh token travels in a cookie. */
export interface AccessToken {
  access_token: string;
  token_type?: string;
  /** Seconds until the access token expires. */
  expires_in: number;
}

/** The body of a question. ``parent_id`` names the answer that it follows on; null begins a new branch at the root; left out, the question goes below the newest answer. To edit a question, ask again with the parent of the edited one. ``doc_ids`` and ``collection_id`` narrow what is searched, together to what is in both; left out, it is what the conversation is bound to. */
export interface Asking {
  model?: string | null;
  client_request_id?: string | null;
  on_disconnect?: "cancel" | "continue";
  question: string;
  k?: number;
  doc_ids?: string[] | null;
  collection_id?: string | null;
  parent_id?: string | null;
}

/** A page of batches, newest first; each with the latest of its refused files only. */
export interface BatchList {
  items: BatchView[];
  next_cursor: string | null;
}

/** A batch; ``queued`` to ``cancelled`` are numbers of documents, ``entries`` is that of files in its archive. */
export interface BatchView {
  batch_id: string;
  name: string;
  status: "unpacking" | "working" | "done" | "cancelled";
  entries: number | null;
  documents: number;
  queued: number;
  processing: number;
  ready: number;
  failed: number;
  cancelled: number;
  pages: number;
  chunks: number;
  progress: number;
  refused: RefusedView[];
  created_at: string;
}

/** Where a stretch of a document's text stands on its pages; none of a format without paper. */
export interface BoxesView {
  doc_id: string;
  pages: PageBoxes[];
}

/** The body of a ``DefaultChatTransport``, and what its ``body`` option may add: the fields of a question. */
export interface Chat {
  id: string;
  messages: UIMessage[];
  trigger?: "submit-message" | "regenerate-message";
  k?: number;
  doc_ids?: string[] | null;
  collection_id?: string | null;
  model?: string | null;
  on_disconnect?: "cancel" | "continue";
}

/** A question, answered over the documents as one JSON object. */
export interface ChatBody {
  question: string;
}

/** One passage: ``text`` is the extracted text from ``start`` to ``end``. */
export interface ChunkView {
  doc_id: string;
  chunk_index: number;
  text: string;
  start: number;
  end: number;
  page: number | null;
  heading: string;
}

/** The caller's collections by their names; there are never so many that there would be another page. */
export interface CollectionList {
  items: CollectionView[];
  next_cursor?: null;
}

/** A collection; ``documents`` is how many are in it. */
export interface CollectionView {
  collection_id: string;
  name: string;
  documents: number;
  created_at: string;
}

/** The body of ``POST /v1/chat/completions``; ``lorestream`` is ours. */
export interface Completion {
  model?: string;
  messages: lorestream__doors__openai_requests__Message[];
  stream?: boolean | null;
  stream_options?: StreamOptions | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  temperature?: number | null;
  stop?: string | string[] | null;
  lorestream?: Search | null;
}

/** The body of ``PATCH /conversations/{id}``: what is given is set; null unbinds from documents or collection. */
export interface ConversationChange {
  title?: string | null;
  doc_ids?: string[] | null;
  collection_id?: string | null;
}

/** A page of conversations, the last active first. */
export interface ConversationList {
  items: ConversationView[];
  next_cursor: string | null;
}

/** A conversation; ``snippet`` is a place of it that a search found. */
export interface ConversationView {
  conversation_id: string;
  title: string;
  doc_ids: string[] | null;
  collection_id: string | null;
  created_at: string;
  updated_at: string;
  snippet?: string | null;
}

/** The language model that answers, why it is that one, and what to do about what is missing. */
export interface CurrentModel {
  name: string;
  why: string;
  advice: string;
}

/** The body of the deletion of the caller's account. */
export interface Deletion {
  password: string;
}

/** The body of ``POST /v1/embeddings``; ``dimensions``, if given, must be those of the embedder. */
export interface Embeddings {
  model?: string;
  input: string | string[];
  encoding_format?: "float" | "base64";
  dimensions?: number | null;
}

/** A page of the audit log, newest first. */
export interface EventList {
  items: EventView[];
  next_cursor: string | null;
}

/** One event of the audit log: whom it concerns, and who did it where that is somebody else. The emails are null where there is no such account any more. */
export interface EventView {
  event_id: string;
  at: string;
  kind:
    | "registered"
    | "login"
    | "login_failed"
    | "login_throttled"
    | "logout"
    | "logout_everywhere"
    | "session_revoked"
    | "refresh_reused"
    | "password_changed"
    | "password_reset"
    | "key_created"
    | "key_revoked"
    | "keys_rotated"
    | "invitation_created"
    | "invitation_revoked"
    | "user_added"
    | "user_disabled"
    | "user_enabled"
    | "admin_granted"
    | "admin_revoked"
    | "limits_changed"
    | "account_exported"
    | "account_deleted";
  user_id: string | null;
  email: string | null;
  actor_id: string | null;
  actor_email: string | null;
  ip: string;
  details: Record<string, unknown>;
}

/** What the owner thinks of an answer. */
export interface FeedbackView {
  rating: "up" | "down" | null;
  comment: string | null;
}

/** A page of invitations, newest first. */
export interface InvitationList {
  items: InvitationView[];
  next_cursor: string | null;
}

/** A new invitation, with its code, which is shown this once. */
export interface InvitationMade {
  invitation_id: string;
  email: string | null;
  created_by: string;
  created_at: string;
  expires_at: string;
  used_by: string | null;
  used_at: string | null;
  code: string;
}

/** An invitation; its code is known only to whom it was sent. */
export interface InvitationView {
  invitation_id: string;
  email: string | null;
  created_by: string;
  created_at: string;
  expires_at: string;
  used_by: string | null;
  used_at: string | null;
}

/** The caller's keys, newest first; there are never so many that there would be another page. */
export interface KeyList {
  items: KeyView[];
  next_cursor?: null;
}

/** A new key, with its text, which is shown this once. */
export interface KeyMade {
  key_id: string;
  name: string;
  prefix: string;
  scopes: ("read" | "ask" | "documents")[];
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
  key: string;
}

/** An API key; ``prefix`` is how its text begins. Its last use is noted at most once a minute. */
export interface KeyView {
  key_id: string;
  name: string;
  prefix: string;
  scopes: ("read" | "ask" | "documents")[];
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
}

/** Every limit of the caller. */
export interface LimitList {
  items: LimitView[];
}

/** One limit of the caller: 0 for none, with nothing ``remaining``; what time gives back says when it does. */
export interface LimitView {
  name:
    | "requests_per_minute"
    | "running_answers"
    | "tokens_per_day"
    | "uploads_per_hour"
    | "stored_bytes"
    | "documents"
    | "open_streams";
  limit: number;
  used: number;
  remaining: number | null;
  resets_at: string | null;
}

/** A password that was made up, shown this once. */
export interface MadeUp {
  password: string;
}

/** The documents that are put into a collection. */
export interface Members {
  doc_ids: string[];
}

/** A message; the lists and objects are those of the events. A running answer can be followed by its run_id. */
export interface MessageView {
  message_id: string;
  parent_id: string | null;
  role: "user" | "assistant";
  content: string;
  status: "running" | "done" | "stopped" | "interrupted" | "failed";
  error: Record<string, unknown> | null;
  sources: Record<string, unknown>[];
  citations: Record<string, unknown>[];
  uncited: boolean;
  run_id: string | null;
  model: string | null;
  finish_reason: string | null;
  usage: Record<string, unknown> | null;
  timings: Record<string, unknown> | null;
  feedback: FeedbackView | null;
  created_at: string;
}

/** A language model that a question could be answered by. */
export interface ModelView {
  name: string;
  description: string;
}

/** The language models there are. */
export interface Models {
  items: ModelView[];
  current: CurrentModel;
}

/** The body of a new collection, and of a new name. */
export interface NamedCollection {
  name: string;
}

/** The body of a new batch; ``collection_id`` is for its documents that are uploaded with none. */
export interface NewBatch {
  name?: string;
  collection_id?: string | null;
}

/** The body of ``POST /conversations/``; without a title it gets one from its first question. */
export interface NewConversation {
  title?: string | null;
  doc_ids?: string[] | null;
  collection_id?: string | null;
}

/** The body of an invitation; with an email only that address can use it. */
export interface NewInvitation {
  email?: string | null;
  expires_in_days?: number;
}

/** The body of a new key; without ``expires_in_days`` it lives until it is revoked. */
export interface NewKey {
  name: string;
  scopes: ("read" | "ask" | "documents")[];
  expires_in_days?: number | null;
}

/** The body of a new account; without a password one is made up. */
export interface NewUser {
  email: string;
  password?: string | null;
  is_admin?: boolean;
}

/** What went wrong: ``message`` for a person, ``code`` for machines, ``param`` the field that is to blame. */
export interface OpenAIError {
  message: string;
  type: string;
  param: string | null;
  code: string;
}

/** A page, its size in points, and a box for each line: [x0, y0, x1, y1] in shares of it from its top left. */
export interface PageBoxes {
  page: number;
  width: number;
  height: number;
  boxes: number[][];
}

/** Where one page stands in the extracted text. */
export interface PageView {
  number: number;
  start: number;
  end: number;
}

/** The password that is, and the one that shall be. */
export interface PasswordChange {
  current_password: string;
  new_password: string;
}

/** The caller's own account. */
export interface Profile {
  user_id: string;
  email: string;
  created_at: string;
  is_admin: boolean;
}

/** The body of ``POST /query/``. */
export interface QueryBody {
  question: string;
  k?: number;
  doc_id?: string | null;
}

/** The body of a question. */
export interface RagBody {
  query: string;
  k?: number;
  doc_id?: string | null;
  on_disconnect?: "cancel" | "continue";
}

/** The body of feedback; null takes it back. */
export interface Rated {
  rating: "up" | "down" | null;
  comment?: string | null;
}

/** A page of rated answers, newest first. */
export interface RatedList {
  items: RatedView[];
  next_cursor: string | null;
}

/** A rated answer with its question; the sources are those of the events. */
export interface RatedView {
  message_id: string;
  conversation_id: string | null;
  question: string;
  answer: string;
  rating: "up" | "down";
  comment: string | null;
  sources: Record<string, unknown>[];
  created_at: string;
}

/** A refusal or a failure. */
export interface Refusal {
  error: OpenAIError;
}

/** A file that became no document, and why. */
export interface RefusedView {
  name: string;
  code: string;
  message: string;
}

/** The body of a regeneration, which may be left out. */
export interface Regeneration {
  model?: string | null;
  client_request_id?: string | null;
  on_disconnect?: "cancel" | "continue";
}

/** An account that was just made. */
export interface Registered {
  user_id: string;
  email: string;
  created_at: string;
}

/** A new account. */
export interface Registration {
  email: string;
  password: string;
  /** Where one is needed. */
  invitation?: string | null;
}

/** How to register here. */
export interface RegistrationOptions {
  registration: "open" | "invite" | "closed";
  /** Nobody is registered yet: whoever is first becomes the administrator. */
  first: boolean;
  password_min_length: number;
  password_advised_length: number;
}

/** What is searched for the answer: so many passages, of these documents and this collection, or nothing at all. */
export interface Search {
  k?: number;
  doc_ids?: string[] | null;
  collection_id?: string | null;
  retrieve?: boolean;
}

/** One login of the caller. */
export interface Session {
  session_id: string;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  user_agent: string;
  ip: string;
  /** Whether this request came by it. */
  current: boolean;
}

/** The caller's logins, the one used last first. */
export interface SessionList {
  items: Session[];
  next_cursor?: null;
}

/** A ``question``, answered as plain text; or the ``messages`` of a chat, the last of them the question. */
export interface StreamBody {
  question?: string | null;
  messages?: lorestream__doors__chat__Message[] | null;
  model?: string | null;
  max_tokens?: number | null;
}

/** ``include_usage``: a last chunk with the counted tokens, where the model's server counts them. */
export interface StreamOptions {
  include_usage?: boolean | null;
}

/** A document's extracted text; offsets count its characters (Unicode code points). */
export interface TextView {
  doc_id: string;
  title: string;
  pages: PageView[];
  text: string;
}

/** A ticket, which is shown this once. */
export interface Ticket {
  /** For the parameter `ticket` of an event stream that a browser's EventSource reads. */
  ticket: string;
  /** Until then it can begin an answer; reconnects to that one go on. */
  expires_at: string;
}

/** A message as ``useChat`` holds it. */
export interface UIMessage {
  id?: string;
  role: "system" | "user" | "assistant";
  parts: lorestream__doors__ai_sdk__Part[];
}

/** The body of a change: what is given is set. ``limits`` stand in the place of all that were set before. */
export interface UserChange {
  disabled?: boolean | null;
  is_admin?: boolean | null;
  limits?: Record<string, number> | null;
}

/** A page of accounts, newest first. */
export interface UserList {
  items: UserView[];
  next_cursor: string | null;
}

/** A new account, and its password where it was made up, shown this once. */
export interface UserMade {
  user: UserView;
  password: string | null;
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

/** A conversation with the messages of all its branches, in the order in which they were stored. */
export interface WholeConversation {
  conversation_id: string;
  title: string;
  doc_ids: string[] | null;
  collection_id: string | null;
  created_at: string;
  updated_at: string;
  snippet?: string | null;
  messages: MessageView[];
}

/** The answer to Stop: whether a live run took it. */
export interface lorestream__conversations__routes__Stopping {
  run_id: string;
  stopping: boolean;
}

/** A part of a message; only text is read. */
export interface lorestream__doors__ai_sdk__Part {
  type: string;
  text?: string | null;
}

/** The answer to Stop: how many answers of the chat took it. */
export interface lorestream__doors__ai_sdk__Stopping {
  stopping: number;
}

/** One message of a chat. */
export interface lorestream__doors__chat__Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/** One message of the chat; what tools said is passed over. */
export interface lorestream__doors__openai_requests__Message {
  role: "system" | "developer" | "user" | "assistant" | "tool" | "function";
  content?: string | lorestream__doors__openai_requests__Part[] | null;
}

/** A piece of a message. */
export interface lorestream__doors__openai_requests__Part {
  type: string;
  text?: string | null;
}
