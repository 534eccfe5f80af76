import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { changeConversation, conversationQuery, EVERYTHING, type ConversationScope } from "../../api/conversations";
import { messageOf } from "../../api/message";
import { announce } from "../../ui/announcer";

/** What a conversation asks: some documents, or a collection, else all. Before it exists, what it will begin with. */
export interface Scope {
  docIds: readonly string[];
  /** Null for none. */
  collectionId: string | null;
  addDocuments: (docIds: readonly string[]) => void;
  removeDocument: (docId: string) => void;
  setCollection: (collectionId: string | null) => void;
  /** A conversation has begun with it; the next one begins with everything. */
  clear: () => void;
}

export function useScope(conversationId: string | null): Scope {
  const client = useQueryClient();
  const { data } = useQuery({ ...conversationQuery(conversationId ?? ""), enabled: conversationId !== null });
  const [next, setNext] = useState(EVERYTHING);
  const { doc_ids: ids, collection_id: collectionId } = (conversationId === null ? next : data) ?? EVERYTHING;
  const docIds = ids ?? [];
  const change = (scope: ConversationScope) => {
    if (conversationId === null) setNext(scope);
    else {
      changeConversation(client, conversationId, scope).catch((error: unknown) => announce(messageOf(error)));
    }
  };
  const setDocuments = (all: string[]) => change({ doc_ids: all.length > 0 ? all : null, collection_id: null });
  return {
    docIds,
    collectionId,
    addDocuments: (more) => setDocuments([...new Set([...docIds, ...more])]),
    removeDocument: (docId) => setDocuments(docIds.filter((id) => id !== docId)),
    setCollection: (id) => change({ doc_ids: null, collection_id: id }),
    clear: () => setNext(EVERYTHING),
  };
}
