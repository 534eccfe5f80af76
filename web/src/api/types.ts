/** The server's objects by the names that this page uses for them. */
import type {
  Citation,
  ConversationView as Conversation,
  Done,
  Error as ErrorMessage,
  FailureView,
  KeyView,
  MessageView,
  RunView,
  Source,
  Timings,
} from "./wire";

export type {
  AccessToken,
  BatchList,
  BatchView as Batch,
  BoxesView as DocumentBoxes,
  Citation,
  CollectionList,
  CollectionView as Collection,
  DocumentView as Document,
  RatedList,
  ConversationList,
  ConversationView as Conversation,
  DocumentList,
  EventList,
  EventView,
  FoundPassage as Hit,
  InvitationList,
  InvitationMade,
  InvitationView,
  KeyList,
  KeyMade,
  KeyView,
  LimitList,
  LimitView,
  Models,
  Profile,
  RegistrationOptions,
  SearchAnswer,
  Session as LoginView,
  SessionList as LoginList,
  Source,
  Status as StatusEvent,
  StreamEvent,
  TextView as DocumentText,
  Timings,
  TimingsView as SearchTimings,
  UserChange,
  UserList,
  UserMade,
  UserView,
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
export type RunSnapshot = Omit<RunView, "sources" | "citations" | "error" | "timings" | "finish_reason"> & {
  sources: Source[];
  citations: Citation[];
  error: (FailureView & { retryable?: boolean }) | null;
  finish_reason: FinishReason | null;
  timings: Timings | null;
};

export type Rating = "up" | "down";

/** A question (`user`) or an answer (`assistant`) in the tree of a conversation, whose edges are `parent_id`. */
export type Message = Omit<MessageView, "sources" | "citations" | "error" | "timings" | "finish_reason"> &
  Pick<RunSnapshot, "sources" | "citations" | "error" | "timings" | "finish_reason">;

/** A conversation with the messages of all its branches, in the order they were made. */
export type ConversationDetail = Conversation & { messages: Message[] };

export type Scope = KeyView["scopes"][number];
