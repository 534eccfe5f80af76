/** The server's objects by the names that this page uses for them. */
import type { RunSnapshot } from "@lorestream/client";

import type { ConversationView as Conversation, KeyView, MessageView } from "./wire";

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
  TextView as DocumentText,
  TimingsView as SearchTimings,
  UserChange,
  UserList,
  UserMade,
  UserView,
} from "./wire";
export type Rating = "up" | "down";

/** A question (`user`) or an answer (`assistant`) in the tree of a conversation, whose edges are `parent_id`. */
export type Message = Omit<MessageView, "sources" | "citations" | "error" | "timings" | "finish_reason"> &
  Pick<RunSnapshot, "sources" | "citations" | "error" | "timings" | "finish_reason">;

/** A conversation with the messages of all its branches, in the order they were made. */
export type ConversationDetail = Conversation & { messages: Message[] };

export type Scope = KeyView["scopes"][number];
