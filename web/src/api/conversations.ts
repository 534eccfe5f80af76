import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  type InfiniteData,
  type QueryClient,
} from "@tanstack/react-query";
import { readError } from "@lorestream/client";

import { authorisedFetch, requestJson, sendJson } from "./http";
import type { Conversation, ConversationDetail, ConversationList, Rating } from "./types";

export type ExportFormat = "markdown" | "json";

const ALL = "/conversations/";
export const conversationPath = (id: string): string => `/conversations/${encodeURIComponent(id)}`;
const messagePath = (id: string, messageId: string): string =>
  `${conversationPath(id)}/messages/${encodeURIComponent(messageId)}`;
export const regeneratePath = (id: string, answerId: string): string => `${messagePath(id, answerId)}/regenerate`;

/** The user's conversations, newest first; with words in `q` those that hold them, with the place they stand at. */
export const conversationsQuery = (q = "") =>
  infiniteQueryOptions({
    queryKey: ["conversations", q],
    queryFn: ({ pageParam, signal }) => {
      const query = new URLSearchParams({ ...(q && { q }), ...(pageParam && { cursor: pageParam }) }).toString();
      return requestJson<ConversationList>(query ? `${ALL}?${query}` : ALL, { signal });
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    // The last list stays until the next has come.
    placeholderData: keepPreviousData,
    select: (data) => data.pages.flatMap((page) => page.items),
  });

/** One conversation with all its messages, every branch of it. */
export const conversationQuery = (id: string) =>
  queryOptions({
    queryKey: ["conversation", id],
    queryFn: ({ signal }) => requestJson<ConversationDetail>(conversationPath(id), { signal }),
  });

/** What a conversation asks: these documents, or this collection; null for all. */
export type ConversationScope = Pick<Conversation, "doc_ids" | "collection_id">;
export const EVERYTHING: ConversationScope = { doc_ids: null, collection_id: null };

export async function createConversation(client: QueryClient, scope: ConversationScope): Promise<string> {
  const created = await sendJson<Conversation>(ALL, "POST", scope);
  const { conversation_id: id } = created;
  client.setQueryData(conversationQuery(id).queryKey, { ...created, messages: [] });
  void client.invalidateQueries({ queryKey: ["conversations"] });
  tellTabs(id);
  return id;
}

export async function changeConversation(
  client: QueryClient,
  id: string,
  change: { title: string } | ConversationScope,
): Promise<void> {
  const changed = await sendJson<Conversation>(conversationPath(id), "PATCH", change);
  const { title, doc_ids, collection_id } = changed;
  client.setQueryData(conversationQuery(id).queryKey, (known) => known && { ...known, title, doc_ids, collection_id });
  client.setQueriesData<InfiniteData<ConversationList>>({ queryKey: ["conversations"] }, (data) =>
    mapItems(data, (item) => (item.conversation_id === id ? { ...item, title, doc_ids, collection_id } : item)),
  );
  tellTabs(id);
}

export async function deleteConversation(client: QueryClient, id: string): Promise<void> {
  await requestJson(conversationPath(id), { method: "DELETE" });
  client.removeQueries({ queryKey: conversationQuery(id).queryKey });
  await client.invalidateQueries({ queryKey: ["conversations"] });
  tellTabs(id);
}

export async function exportConversation(id: string, format: ExportFormat): Promise<Blob> {
  const response = await authorisedFetch(`${conversationPath(id)}/export?format=${format}`);
  if (!response.ok) throw await readError(response);
  return response.blob();
}

/** Rate an answer; what was there before comes back when the server does not take it. */
export async function rateAnswer(
  client: QueryClient,
  id: string,
  messageId: string,
  rating: Rating | null,
  comment: string | null,
): Promise<void> {
  const { queryKey } = conversationQuery(id);
  const feedback = rating && { rating, comment };
  client.setQueryData(
    queryKey,
    (known) =>
      known && {
        ...known,
        messages: known.messages.map((item) => (item.message_id === messageId ? { ...item, feedback } : item)),
      },
  );
  try {
    await sendJson(`${messagePath(id, messageId)}/feedback`, "PUT", { rating, comment });
  } catch (error) {
    void client.invalidateQueries({ queryKey });
    throw error;
  }
}

const tabs = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("lorestream.conversations");

/** Something happened in a conversation: read it and the list again, here and in the user's other tabs. */
export function refreshConversation(client: QueryClient, id: string): void {
  invalidate(client, id);
  tellTabs(id);
}

/** Keep this tab's view in step with the others'; returns the way to end it. */
export function followOtherTabs(client: QueryClient): () => void {
  const onMessage = ({ data }: MessageEvent<string>) => invalidate(client, data);
  tabs?.addEventListener("message", onMessage);
  return () => tabs?.removeEventListener("message", onMessage);
}

const tellTabs = (id: string): void => tabs?.postMessage(id);

function invalidate(client: QueryClient, id: string): void {
  void client.invalidateQueries({ queryKey: conversationQuery(id).queryKey });
  void client.invalidateQueries({ queryKey: ["conversations"] });
}

const mapItems = (data: InfiniteData<ConversationList> | undefined, change: (item: Conversation) => Conversation) =>
  data && { ...data, pages: data.pages.map((page) => ({ ...page, items: page.items.map(change) })) };
